"""The memory of workers on a skewed catalog and on an even one, on each engine.

`python -m benchmarks.skew --json` makes two catalogs of the same number of rows, each with a long text as metadata. In
the skewed one a partition has ten times the rows of the others, and one item id three of ten rows. Both are embedded by
one worker of the local runner, of Spark and of Flink (the clusters of `tests.engines`); what is compared is the largest
resident size that a Python worker had. The baseline is the even catalog on the same engine.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.report import print_report
from benchmarks.scaling import ENGINES, engine_flags
from catalog.partition import partitions_of
from catalog.source import CatalogSource
from pipelines.embed import EmbedConfig, embed

_PARTITIONS = 16
_IMAGES = 8
_TEXT_BYTES = 6_000
_BETWEEN_LOOKS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch)
        draw_images(folder)
        catalogs = {name: write_catalog(folder, name, ids) for name, ids in ids_of(args.rows).items()}
        for engine in args.engines:
            peaks = {name: peak_of(folder / f"{engine}-{name}", catalog, engine) for name, catalog in catalogs.items()}
            report[engine] = {**peaks, "skewed_over_even": round(peaks["skewed"] / peaks["even"], 3)}
    print_report("skew", args.json, rows=args.rows, text_bytes=_TEXT_BYTES, peak_megabytes=report)


def ids_of(rows: int) -> dict[str, np.ndarray]:
    """The item ids of both catalogs."""
    names = np.array([f"item-{number:07d}" for number in range(20 * rows)])
    partition = partitions_of(names, _PARTITIONS)
    others = rows // (_PARTITIONS + 9)
    wanted = [rows - (_PARTITIONS - 1) * others] + [others] * (_PARTITIONS - 1)
    skewed = np.concatenate([names[partition == number][:count] for number, count in enumerate(wanted)])
    skewed = np.random.default_rng(0).permutation(skewed)
    skewed[: 3 * rows // 10] = skewed[0]
    return {"even": names[:rows], "skewed": skewed}


def draw_images(folder: Path) -> None:
    """Images that cost next to nothing."""
    for number in range(_IMAGES):
        Image.new("RGB", (16, 16), (number * 30, 90, 200 - number * 20)).save(folder / f"{number}.png")


def write_catalog(folder: Path, name: str, ids: np.ndarray) -> Path:
    """A CSV of these ids, whose images are a few small ones."""
    rng = np.random.default_rng(1)
    path = folder / f"{name}.csv"
    with path.open("w") as file:
        file.write("item_id,image,text\n")
        for row, item_id in enumerate(ids):
            file.write(f"{item_id},{row % _IMAGES}.png,{rng.bytes(_TEXT_BYTES // 2).hex()}\n")
    return path


def peak_of(folder: Path, catalog: Path, engine: str) -> float:
    """Megabytes that the largest Python worker had while it embedded a catalog."""
    folder.mkdir()
    config = EmbedConfig(CatalogSource((str(catalog),)), str(folder / "embeddings"), "color-histogram", threads=1)
    with engine_flags(engine, 1, folder) as (flags, _), watched_workers() as seen:
        embed(replace(config, partitions=_PARTITIONS, runs_on=engine, beam_arguments=flags))
    return round(max(seen) / 1024, 1)


@contextlib.contextmanager
def watched_workers() -> Iterator[list[int]]:
    """Kilobytes that Beam's Python workers on this machine had at most, looked at again and again while the body
    runs."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_BETWEEN_LOOKS):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if b"sdk_worker_main" in (process / "cmdline").read_bytes():
                        peaks = (line for line in (process / "status").read_text().splitlines() if "VmHWM" in line)
                        seen.extend(int(line.split()[1]) for line in peaks)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
