"""Real vectors by the hundred thousand: the positions of the last feature map of an encoder over the shared photos.

`python -m benchmarks.features --images DIR … --model SAVEDMODEL --output F.npy` writes float32 [n, 256]: every position
of the map of every photo, 100 for a photo of 320 x 320 pixels, brought to 256 dimensions by principal components and to
unit length. They crowd and overlap as the vectors of real encoders do, which drawn ones do not.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from encoders.decode import DecodeError, DecodeLimits, decode

SIDE = 320
DIMENSION = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True, help="folders of photos")
    parser.add_argument("--model", required=True, help="a SavedModel whose last map is pooled into a feature vector")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    vectors = features(args.images, args.model)
    np.save(args.output, vectors)
    print(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions: {args.output}")


def features(folders: list[str], model: str) -> np.ndarray:
    """float32 [n, 256] of all photos below the folders that can be decoded, in the order of their names."""
    paths = sorted(path for folder in folders for path in Path(folder).rglob("*") if path.suffix in (".jpg", ".png"))
    run = _feature_map(model)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        maps = [found for found in pool.map(lambda path: _positions(path, run), paths) if found is not None]
    return _principal(np.concatenate(maps))


def _feature_map(model: str) -> Any:
    """A function of float32 [1, 320, 320, 3] in [0, 1] to the last map, [1, h, w, channels]."""
    import openvino

    core = openvino.Core()
    read = core.read_model(model)
    pooled = next(
        op for op in reversed(read.get_ordered_ops()) if op.get_type_name() in ("ReduceMean", "AvgPool", "ReduceSum")
    )
    whole = openvino.Model([pooled.input_value(0)], read.get_parameters(), "features")
    whole.reshape([1, SIDE, SIDE, 3])
    compiled = core.compile_model(whole, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    channels_first = len(whole.output(0).shape) == 4 and whole.output(0).shape[1] > whole.output(0).shape[3]

    def run(pixels: np.ndarray) -> np.ndarray:
        found = np.array(compiled.create_infer_request().infer({0: pixels})[0])
        return found.transpose(0, 2, 3, 1) if channels_first else found

    return run


def _positions(path: Path, run: Any) -> np.ndarray | None:
    from PIL import Image

    try:
        image = decode(path.read_bytes(), DecodeLimits(), (SIDE, SIDE)).image
    except (DecodeError, OSError):
        return None
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)[None] / 255
    found = run(pixels)
    return found.reshape(-1, found.shape[-1]).astype(np.float16)


def _principal(maps: np.ndarray) -> np.ndarray:
    picked = maps[:: max(1, len(maps) // 60_000)].astype(np.float32)
    centre = picked.mean(axis=0)
    _, components = np.linalg.eigh(np.cov((picked - centre).T))
    directions = np.ascontiguousarray(components[:, ::-1][:, :DIMENSION], np.float32)
    vectors = np.empty((len(maps), DIMENSION), np.float32)
    for start in range(0, len(maps), 16_384):
        vectors[start : start + 16_384] = (maps[start : start + 16_384] - centre) @ directions
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main()
