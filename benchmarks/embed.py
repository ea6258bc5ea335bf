"""Images per second of the embed job, from the catalog file to the snapshot, against the loops that people write.

`python -m benchmarks.embed --images DIR --encoder SPEC --json` measures, in turn, on the same photos:
  tf_data       `tf.data` with TensorFlow's own decoder and resize, and the SavedModel as it is (`savedmodel:` only)
  bare_loop     two threads a core that decode and infer, on our engine; nothing is hashed or stored
  job           the Beam job on the local runner: hashes, signatures, Parquet files and commits included
  job_slow_gets the same job with the images in an object store on loopback that answers each GET after 30 ms
The job's rate is that once it is running: the images of the catalog less those of a tenth of it, by the difference of
the two jobs' times. `whole_job` has the look at the catalog, the start of the workers and the end of the run in it too.
`--memory` also compares the job's peak memory at 3,000 and at 30,000 rows. Without `--images` it draws some.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_megabytes
from benchmarks.report import interleaved, print_report, ratio
from benchmarks.slow_store import slow_store
from catalog.scan import scan
from catalog.source import CatalogSource
from demo.catalog_folder import draw_catalog
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.image_loader import cores, resize
from encoders.registry import load_encoder
from pipelines.embed import EmbedConfig, embed

GET_SECONDS = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of images (default: drawn ones)")
    parser.add_argument("--encoder", default="color-histogram", metavar="SPEC")
    parser.add_argument("--most", type=int, default=2_000, help="use at most so many images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="compare peak memory at 3,000 and 30,000 rows")
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
    remote = scratch / "remote.csv"
    with slow_store(folder, GET_SECONDS) as bucket:
        moved = [lines[0], *(line.replace(f",{folder}/", f",{bucket}/") for line in lines[1:])]
        remote.write_text("\n".join(moved) + "\n")
        measured: dict[str, Callable[[], float]] = {}
        whole: list[float] = []
        if args.encoder.startswith("savedmodel:"):
            measured["tf_data"] = lambda: tf_data(uris, args.encoder)
        measured["bare_loop"] = lambda: bare_loop(uris, args.encoder)
        measured["job"] = lambda: job(catalog, args.encoder, whole)
        measured["job_slow_gets"] = lambda: job(remote, args.encoder, [])
        for warm_up in measured.values():
            warm_up()
        whole.clear()
        rates = interleaved(args.rounds, measured)
    ratios = {
        f"job_over_{name}": ratio(rates["job"], rates[name]) for name in ("tf_data", "bare_loop") if name in rates
    }
    ratios["slow_gets_over_local_disk"] = ratio(rates["job_slow_gets"], rates["job"])
    peaks = {}
    if args.memory:
        peaks = {rows: peak_of(rows, uris, args.encoder, scratch) for rows in (3_000, 30_000)}
        ratios["peak_memory_30000_over_3000_rows"] = round(peaks[30_000] / peaks[3_000], 3)
    print_report(
        "embed",
        args.json,
        encoder=args.encoder,
        images=len(uris),
        images_per_second={
            name: [round(rate, 1) for rate in found] for name, found in {**rates, "whole_job": whole}.items()
        },
        peak_megabytes={str(rows): round(peak) for rows, peak in peaks.items()},
        ratios=ratios,
    )


def job(catalog: Path, encoder: str, whole: list[float]) -> float:
    """Images per second of the embed job once it is running; `whole` gets the rate of all of it."""
    lines = catalog.read_text().splitlines()
    tenth = catalog.with_name(f"tenth-{catalog.name}")
    tenth.write_text("\n".join(lines[: len(lines) // 10 + 1]) + "\n")
    few, short = _embedded(tenth, encoder)
    many, long = _embedded(catalog, encoder)
    whole.append(many / long)
    return (many - few) / (long - short)


def _embedded(catalog: Path, encoder: str) -> tuple[int, float]:
    """Images and seconds of one embed job into a store of its own."""
    with tempfile.TemporaryDirectory(prefix="benchmark-store-") as store:
        started = time.perf_counter()
        summary = embed(EmbedConfig(CatalogSource((str(catalog),)), store, encoder))
        assert summary.rejected <= 0.05 * summary.rows, summary
        return summary.embedded, time.perf_counter() - started


def bare_loop(uris: list[str], spec: str) -> float:
    """Images per second of decode and inference alone."""
    encoder = load_encoder(spec)
    limits = DecodeLimits()

    def pixels(uri: str) -> np.ndarray | None:
        try:
            picture = decode(Path(uri).read_bytes(), limits, least=encoder.info.input_size)
        except DecodeError:
            return None
        return np.asarray(resize(picture.image, encoder.info.input_size))

    def one(uri: str) -> int:
        found = pixels(uri)
        return 0 if found is None else len(encoder.encode(found[None]))

    started = time.perf_counter()
    with ThreadPoolExecutor(2 * cores()) as pool:
        if encoder.one_by_one:
            done = sum(pool.map(one, uris))
        else:
            found = [image for image in pool.map(pixels, uris) if image is not None]
            size = encoder.batch_size
            batches = (np.stack(found[start : start + size]) for start in range(0, len(found), size))
            done = sum(len(encoder.encode(batch)) for batch in batches)
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


def peak_of(rows: int, uris: list[str], encoder: str, scratch: Path) -> float:
    """Peak memory of a process that embeds so many rows, the same images again and again under other ids."""
    catalog = scratch / f"rows-{rows}.csv"
    lines = (f"item-{row:06d},{uris[row % len(uris)]}" for row in range(rows))
    catalog.write_text("\n".join(["item_id,image", *lines]) + "\n")
    flags = ["--catalog", str(catalog), "--output", str(scratch / f"rows-{rows}"), "--encoder", encoder]
    return peak_megabytes(["-m", "commands.main", "embed", *flags])


if __name__ == "__main__":
    main()
