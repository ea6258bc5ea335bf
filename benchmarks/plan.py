"""What `index plan` estimates against what is measured: seconds of training, encoding and assembly, and bytes.

`python -m benchmarks.plan --json` builds the planned index of random vectors at each size, without a pipeline and
without stores, and gives estimate over measurement. The estimates' constants are those of one machine, scaled by a
probe of this one's matrix products.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import print_report
from index_builder.assembly.index_file import write_ivf_index
from index_builder.assembly.runs import Run, list_sizes, write_run
from index_builder.evaluation.ground_truth import exact_neighbours
from index_builder.measures import prepare
from index_builder.planning.build_time import product_rate
from index_builder.planning.estimates import estimate
from index_builder.planning.index_plan import IndexPlan
from index_builder.planning.plan import PlanRequest, plan_index
from index_builder.threads import in_threads
from index_builder.training.codebook import encode_vectors, train_codebook
from index_builder.training.row_store import RowStore

QUERIES = 1_000
_AT_ONCE = 50_000
_QUERIES_AT_ONCE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--factory", help="instead of the plan's choice")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rate = product_rate()
    found = []
    for count in args.vectors:
        plan = plan_index(count, args.dimension, "cosine", PlanRequest(factory=args.factory))
        expected = estimate(plan, count, 4, rate)
        measured = build(plan, count)
        seconds = {
            stage: {
                "estimated": round(expected.seconds_by_stage[stage], 2),
                "measured": round(taken, 2),
                "ratio": round(expected.seconds_by_stage[stage] / taken, 3),
            }
            for stage, taken in measured["seconds"].items()
        }
        size = {"estimated": expected.index_bytes, "measured": measured["bytes"]}
        found.append({"vectors": count, "factory": plan.factory, "seconds": seconds, "index_bytes": size})
    print_report("plan", args.json, dimension=args.dimension, gigaflops=round(rate / 1e9, 1), builds=found)


def build(plan: IndexPlan, count: int) -> dict[str, Any]:
    """Builds the index of `count` random vectors; the seconds of each stage, and the bytes of the file."""
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = work()
        seconds[stage] = seconds.get(stage, 0) + time.perf_counter() - started
        return made

    sample = RowStore(None, plan.training_rows, plan.dimension)
    for start in range(0, plan.training_rows, _AT_ONCE):
        sample.write(start, drawn(start, min(_AT_ONCE, plan.training_rows - start), plan.dimension))
    codebook = timed("train", lambda: train_codebook(sample, plan))
    queries, parts = drawn(0, QUERIES, plan.dimension), []
    for start in range(0, count, _AT_ONCE):
        vectors = drawn(start, min(_AT_ONCE, count - start), plan.dimension)
        rows = np.arange(start, start + len(vectors))
        codes = timed("encode", partial(encode_vectors, codebook, vectors, plan.metric))
        timed("ground_truth", partial(ask, queries, vectors, rows, plan.metric))
        parts.append((codes, rows))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        run, index = str(Path(scratch) / "run"), Path(scratch) / "index.faiss"
        fastscan, lists = plan.family == "ivf_pq_fastscan", (0, plan.lists)
        timed("assemble", lambda: write_run(run, plan.lists, codebook.inner.code_size, parts))

        def assemble() -> None:
            runs = [Run(run)]
            write_ivf_index(index, codebook, fastscan, runs, list_sizes(runs), lists, 1 << 30)

        timed("assemble", assemble)
        return {"seconds": seconds, "bytes": index.stat().st_size}


def ask(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray, metric: str) -> None:
    """Exact neighbours, each thread for some of the queries, as the build asks."""
    some = np.array_split(queries, len(queries) // _QUERIES_AT_ONCE)
    list(in_threads(lambda each: exact_neighbours(each, vectors, rows, metric), some))


def drawn(seed: int, count: int, dimension: int) -> np.ndarray:
    """float32 [count, dimension] of unit length."""
    return prepare(np.random.default_rng(seed).standard_normal((count, dimension), np.float32), "cosine")


if __name__ == "__main__":
    main()
