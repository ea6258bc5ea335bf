"""Reduced decode of JPEGs against full decode: speed, and what it does to vectors and perceptual hashes.

`python -m benchmarks.decode --images DIR... --encoder SPEC --json` decodes and resizes every picture below the folders
both ways, a chunk at a time in turn, on one thread. Cosines and distances are given for all pictures and for those that
came reduced. Pictures that do not decode are left out. Without `--images` it draws photos of 1,600 x 1,200.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.report import print_report, ratio
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.encoder import Encoder
from encoders.image_loader import resize
from encoders.picture_signature import signature
from encoders.registry import load_encoder

_CHUNK = 64


@dataclass
class Prepared:
    """What one way of decoding gave for a chunk of files."""

    pixels: list[np.ndarray] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    reduced: list[bool] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", help="folders of images (default: drawn ones)")
    parser.add_argument("--encoder", default="color-histogram", metavar="SPEC")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = load_encoder(args.encoder)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        if args.images is None:
            draw_photos(Path(scratch))
        measure(args.images or [Path(scratch)], encoder, args.json)


def measure(folders: list[Path], encoder: Encoder, as_json: bool) -> None:
    """Measures and prints."""
    seconds: dict[str, list[float]] = {"full": [], "reduced": []}
    cosines, apart, reduced = [], [], []
    for chunk in chunks(folders):
        ways = {"full": prepare(chunk, encoder, None), "reduced": prepare(chunk, encoder, encoder.info.input_size)}
        for name, way in ways.items():
            seconds[name].append(way.seconds)
        cosines.append(cosine(encoder, ways["full"].pixels, ways["reduced"].pixels))
        apart += [(a ^ b).bit_count() for a, b in zip(ways["full"].hashes, ways["reduced"].hashes, strict=True)]
        reduced += ways["reduced"].reduced
    each, bits, came_reduced = np.concatenate(cosines), np.array(apart), np.array(reduced)
    print_report(
        "decode",
        as_json,
        encoder=encoder.info.spec,
        images=len(each),
        came_reduced=int(came_reduced.sum()),
        milliseconds_per_image={name: round(sum(found) / len(each) * 1e3, 3) for name, found in seconds.items()},
        cosine=summary(each),
        cosine_of_reduced=summary(each[came_reduced]),
        hash_bits_apart={"mean": round(float(bits.mean()), 4), "max": int(bits.max())},
        hash_bits_apart_of_reduced=round(float(bits[came_reduced].mean()), 4) if came_reduced.any() else None,
        ratios={"reduced_speed_over_full": ratio(seconds["full"], seconds["reduced"])},
    )


def chunks(folders: list[Path]) -> Iterator[list[bytes]]:
    """The bytes of all files below the folders that decode, some at a time."""
    chunk: list[bytes] = []
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()):
        data = path.read_bytes()
        try:
            decode(data, DecodeLimits())
        except DecodeError:
            continue
        chunk.append(data)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def prepare(chunk: list[bytes], encoder: Encoder, least: tuple[int, int] | None) -> Prepared:
    """Decodes, hashes and resizes, as `ImageLoader` does."""
    found, started = Prepared(), time.perf_counter()
    for data in chunk:
        picture = decode(data, DecodeLimits(), least)
        resized = resize(picture.image, encoder.info.input_size)
        found.hashes.append(signature(resized)[0])
        found.pixels.append(np.asarray(resized))
        found.reduced.append(picture.image.size != (picture.width, picture.height))
    found.seconds = time.perf_counter() - started
    return found


def cosine(encoder: Encoder, one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """float64 [n]: between the vectors of pictures in the same place."""
    a, b = (encoder.encode(np.stack(pixels)).astype(np.float64) for pixels in (one, other))
    return np.einsum("nd,nd->n", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def summary(values: np.ndarray) -> dict[str, float] | None:
    """Mean and minimum."""
    return {"mean": round(float(values.mean()), 6), "min": round(float(values.min()), 6)} if len(values) else None


def draw_photos(folder: Path, count: int = 64) -> None:
    """JPEGs of smooth noise: detail at every scale, as photos have."""
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((1_200, 1_600, 3))
        for side in (4, 16, 64, 256):
            layer = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
            picture += np.asarray(layer.resize((1_600, 1_200), Image.Resampling.BICUBIC)) / 4
        sink = io.BytesIO()
        Image.fromarray(picture.astype(np.uint8)).save(sink, "JPEG", quality=85)
        (folder / f"{number}.jpg").write_bytes(sink.getvalue())


if __name__ == "__main__":
    main()
