"""Seconds and shuffled bytes of the jobs on one worker and on two, on each engine.

`python -m benchmarks.scaling --json` draws a catalog of JPEGs and makes a store of random vectors; then, on the local
runner, on Spark and on Flink (the clusters of `tests.engines`: separate processes on loopback, one slot and one core a
worker, `--threads 1`; of the local runner, processes on as many cores), embeds the catalog with the colour histogram
(decoding is nearly all of its work) and indexes the store, once with one worker and once with two:

  seconds          of the whole command, with the start of the job server and of the workers
  rows_per_second  of embed between its first commit and its last; of index in its stage `encode`, whose units are
                   2^18 rows: give eight at least
  speed_up         of two workers over one, by both
  overhead         what an engine adds to the local runner: seconds a job, and milliseconds a row
  shuffled_bytes   a row, written by workers for others, as the engine counts them

The baseline of an engine is the local runner in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.engine_traffic import shuffled_bytes
from benchmarks.report import print_report
from catalog.import_vectors import ImportConfig, import_vectors
from catalog.manifest import artifact_root, read_manifest
from catalog.source import CatalogSource
from catalog.vector_source import VectorInput
from pipelines.embed import EmbedConfig, embed
from pipelines.index import IndexConfig, run_index
from tests.engines.flink_cluster import FlinkCluster
from tests.engines.spark_cluster import SparkCluster

_CLUSTERS = {"spark": SparkCluster, "flink": FlinkCluster}
ENGINES = ["local", *_CLUSTERS]
_DRAWN = 64
_DIMENSION = 64
_PARTITIONS = 32


@dataclass(frozen=True)
class Measured:
    """One job on one engine."""

    seconds: float
    rows_per_second: float
    shuffled_bytes: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3_200)
    parser.add_argument("--vectors", type=int, default=1 << 21)
    parser.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch)
        jobs = Jobs(draw_catalog(folder, args.images), args.images, make_store(folder, args.vectors), args.vectors)
        found = {}
        for engine in args.engines:
            for workers in (1, 2):
                with engine_flags(engine, workers, folder) as (flags, shuffled):
                    for name, run in (("embed", jobs.embed), ("index", jobs.index)):
                        found[name, engine, workers] = run(folder / f"{engine}-{workers}", engine, flags, shuffled)
        print_report(
            "scaling",
            args.json,
            images=args.images,
            vectors=args.vectors,
            dimension=_DIMENSION,
            embed=compared({key[1:]: one for key, one in found.items() if key[0] == "embed"}),
            index=compared({key[1:]: one for key, one in found.items() if key[0] == "index"}),
        )


@dataclass(frozen=True)
class Jobs:
    """The two jobs, on whatever engine."""

    catalog: Path
    images: int
    store: Path
    vectors: int

    def embed(
        self, folder: Path, engine: str, flags: tuple[str, ...], shuffled: Callable[[], float | None]
    ) -> Measured:
        """Embeds the catalog into `folder`."""
        store, before, started = folder / "embeddings", shuffled(), time.perf_counter()
        config = EmbedConfig(CatalogSource((str(self.catalog),)), str(store), "color-histogram", threads=1)
        embed(replace(config, partitions=_PARTITIONS, runs_on=engine, beam_arguments=flags))
        seconds = time.perf_counter() - started
        commits = sorted(path.stat().st_mtime for path in store.glob("runs/*/commits/*.json"))
        rate = self.images * (len(commits) - 1) / len(commits) / (commits[-1] - commits[0])
        return Measured(seconds, rate, _a_row(before, shuffled(), self.images))

    def index(
        self, folder: Path, engine: str, flags: tuple[str, ...], shuffled: Callable[[], float | None]
    ) -> Measured:
        """Indexes the store into `folder`."""
        before, started = shuffled(), time.perf_counter()
        config = IndexConfig(str(self.store), str(folder / "artifacts"), "vectors", factory="OPQ16_64,IVF512,PQ16")
        summary, _ = run_index(replace(config, queries=100, runs_on=engine, beam_arguments=flags))
        seconds = time.perf_counter() - started
        manifest = read_manifest(artifact_root(str(folder / "artifacts"), "vectors"), summary.version)
        rate = self.vectors / manifest.seconds_by_stage["encode"]
        return Measured(seconds, rate, _a_row(before, shuffled(), self.vectors))


def _a_row(before: float | None, after: float | None, rows: int) -> float | None:
    return None if before is None or after is None else (after - before) / rows


@contextlib.contextmanager
def engine_flags(
    engine: str, workers: int, folder: Path
) -> Iterator[tuple[tuple[str, ...], Callable[[], float | None]]]:
    """Beam's flags for an engine of that many workers, running while the body does; and what it has shuffled so far."""
    if engine == "local":
        several = ("--direct_running_mode=multi_processing", f"--direct_num_workers={workers}")
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(before)[:workers])
        try:
            yield several, lambda: None
        finally:
            os.sched_setaffinity(0, before)
        return
    cluster = _CLUSTERS[engine](folder / f"cluster-{engine}-{workers}", workers, a_core_each=True)
    try:
        cluster.start()
        yield tuple(cluster.beam_arguments()), lambda: shuffled_bytes(cluster)
    finally:
        cluster.stop()


def compared(found: dict[tuple[str, int], Measured]) -> dict[str, object]:
    """The figures of one job by engine, with their ratios."""
    report: dict[str, object] = {}
    for engine in dict.fromkeys(engine for engine, _ in found):
        one, two = found[engine, 1], found[engine, 2]
        figures: dict[str, object] = {
            "seconds": [round(one.seconds, 2), round(two.seconds, 2)],
            "rows_per_second": [round(one.rows_per_second, 1), round(two.rows_per_second, 1)],
            "speed_up": {
                "rows_per_second": round(two.rows_per_second / one.rows_per_second, 3),
                "seconds": round(one.seconds / two.seconds, 3),
            },
        }
        if two.shuffled_bytes is not None:
            figures["shuffled_bytes"] = round(two.shuffled_bytes, 1)
        if engine != "local" and ("local", 2) in found:
            home = found["local", 2]
            figures["overhead"] = {
                "seconds_a_job": round(two.seconds - home.seconds, 2),
                "milliseconds_a_row": round(1000 / two.rows_per_second - 1000 / home.rows_per_second, 4),
                "rows_per_second_over_local": round(two.rows_per_second / home.rows_per_second, 3),
            }
        report[engine] = figures
    return report


def draw_catalog(folder: Path, images: int) -> Path:
    """A CSV of `images` rows that name different JPEGs of 1,000 x 800 pixels."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(_DRAWN):
        coarse = Image.fromarray(rng.integers(0, 256, (50, 62, 3), np.uint8))
        coarse.resize((1000, 800), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.jpg", quality=88)
    for number in range(_DRAWN, images):
        (folder / "images" / f"{number}.jpg").hardlink_to(folder / "images" / f"{number % _DRAWN}.jpg")
    path = folder / "catalog.csv"
    path.write_text("item_id,image\n" + "".join(f"item-{row},images/{row}.jpg\n" for row in range(images)))
    return path


def make_store(folder: Path, vectors: int) -> Path:
    """An embedding store of random clusters."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(1_000, _DIMENSION)).astype(np.float32)
    of_rows = centres[rng.integers(0, len(centres), vectors)]
    np.save(folder / "vectors.npy", of_rows + 0.3 * rng.normal(size=of_rows.shape).astype(np.float32))
    source = VectorInput((str(folder / "vectors.npy"),))
    import_vectors(ImportConfig(source, str(folder / "store"), "l2", partitions=_PARTITIONS))
    return folder / "store"


if __name__ == "__main__":
    main()
