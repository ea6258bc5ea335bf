"""Images per second of the embed job, from the catalog file to the snapshot, against the loops that people write.

`python -m benchmarks.embed --images DIR --encoder SPEC --json` measures, in turn:
  bare_loop   a thread pool that decodes, and the same encoder called in batches; nothing is stored
  tf_data     `tf.data` with TensorFlow's own decoder and resize, for `savedmodel:` encoders
  job         the Beam job on the local runner, Parquet files and commits included
Without `--images` it draws some.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import interleaved, print_report, ratio
from catalog.scan import scan
from catalog.source import CatalogSource
from demo.catalog_folder import draw_catalog
from encoders.decode import DecodeLimits
from encoders.image_loader import ImageLoader, LoadedImage
from encoders.registry import load_encoder
from pipelines.embed import EmbedConfig, embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of images (default: drawn ones)")
    parser.add_argument("--encoder", default="color-histogram", metavar="SPEC")
    parser.add_argument("--most", type=int, default=2_000, help="use at most so many images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = args.images or Path(scratch) / "pictures"
        if args.images is None:
            draw_catalog(folder)
        measure(args, folder.resolve(), Path(scratch))


def measure(args: argparse.Namespace, folder: Path, scratch: Path) -> None:
    """Measures and prints."""
    catalog = scratch / "catalog.csv"
    scan(str(folder), str(catalog))
    lines = catalog.read_text().splitlines()[: args.most + 1]
    catalog.write_text("\n".join(lines) + "\n")
    uris = [line.split(",")[1] for line in lines[1:]]
    stores = iter(range(1_000))

    def job() -> float:
        config = EmbedConfig(CatalogSource((str(catalog),)), str(scratch / f"store-{next(stores)}"), args.encoder)
        return embed(config).images_per_second

    measured: dict[str, Callable[[], float]] = {"bare_loop": lambda: bare_loop(uris, args.encoder)}
    if args.encoder.startswith("savedmodel:"):
        measured["tf_data"] = lambda: tf_data(uris, args.encoder)
    measured["job"] = job
    for warm_up in measured.values():
        warm_up()
    rates = interleaved(args.rounds, measured)
    print_report(
        "embed",
        args.json,
        encoder=args.encoder,
        images=len(uris),
        images_per_second={name: [round(rate, 1) for rate in found] for name, found in rates.items()},
        ratios={f"job_over_{name}": ratio(rates["job"], found) for name, found in rates.items() if name != "job"},
    )


def bare_loop(uris: list[str], spec: str) -> float:
    """Images per second of decode and encode alone."""
    encoder = load_encoder(spec)
    loader = ImageLoader(encoder.info.input_size, DecodeLimits())
    started, done, batch = time.perf_counter(), 0, []
    for loaded in loader.load_all(uris):
        if isinstance(loaded, LoadedImage):
            batch.append(loaded.pixels)
        if len(batch) == encoder.batch_size:
            done += len(encoder.encode(np.stack(batch)))
            batch = []
    if batch:
        done += len(encoder.encode(np.stack(batch)))
    return done / (time.perf_counter() - started)


def tf_data(uris: list[str], spec: str) -> float:
    """Images per second of the loop in TensorFlow's guides: `tf.data`, and the SavedModel as it is."""
    from encoders.tensorflow_import import tensorflow

    tf = tensorflow()
    height, width = load_encoder(spec).info.input_size
    model = tf.saved_model.load(spec.removeprefix("savedmodel:").split("?")[0])

    def read(path: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        return tf.image.resize(image, [height, width]) / 255.0

    paths = tf.data.Dataset.from_tensor_slices(uris)
    batches = paths.map(read, tf.data.AUTOTUNE).ignore_errors().batch(32).prefetch(tf.data.AUTOTUNE)
    started = time.perf_counter()
    done = sum(int(model(batch).shape[0]) for batch in batches)
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
