"""Seconds and recall of our index build against FAISS's own `index_factory` with the same factory string and sample.

`python -m benchmarks.index --json` builds both from the same clustered vectors, in turn, and asks both at equal nprobe,
codes alone, without re-ranking.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import interleaved, print_report, ratio
from index_builder.codebook import encode_vectors, train_codebook
from index_builder.faiss_import import faiss
from index_builder.ground_truth import exact_neighbours
from index_builder.index_file import write_ivf_index
from index_builder.measures import prepare
from index_builder.plan import plan_index
from index_builder.recall import recall_at

NPROBE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=40_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    library = faiss()
    vectors = prepare(clustered(args.vectors + 500, args.dimension), "cosine")
    vectors, queries = vectors[:-500], vectors[-500:]
    plan = plan_index(args.vectors, args.dimension, "cosine")
    sample = vectors[: plan.training_rows]
    exact = exact_neighbours(queries, vectors, np.arange(len(vectors)), "cosine", 10).rows
    recall: dict[str, float] = {}

    def ours() -> float:
        started = time.perf_counter()
        codebook = library.deserialize_index(np.frombuffer(train_codebook(sample, plan), np.uint8))
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "index.faiss"
            write_ivf_index(path, codebook, [(encode_vectors(codebook, vectors), np.arange(len(vectors)))])
            seconds = time.perf_counter() - started
            recall["ours"] = recall_of(library.read_index(str(path)), queries, exact)
        return seconds

    def plain() -> float:
        started = time.perf_counter()
        index = library.index_factory(args.dimension, plan.factory, library.METRIC_INNER_PRODUCT)
        index.train(sample)
        index.add(vectors)
        seconds = time.perf_counter() - started
        recall["index_factory"] = recall_of(index, queries, exact)
        return seconds

    seconds = interleaved(args.rounds, {"index_factory": plain, "ours": ours})
    print_report(
        "index",
        args.json,
        factory=plan.factory,
        vectors=args.vectors,
        build_seconds={name: [round(each, 2) for each in found] for name, found in seconds.items()},
        recall_at_10=recall,
        ratios={
            "build_speed_over_index_factory": ratio(seconds["index_factory"], seconds["ours"]),
            "recall_over_index_factory": round(recall["ours"] / recall["index_factory"], 4),
        },
    )


def recall_of(index: Any, queries: np.ndarray, exact: np.ndarray) -> float:
    """Recall@10 of the codes alone at `NPROBE` lists."""
    faiss().extract_index_ivf(index).nprobe = NPROBE
    return recall_at(index.search(queries, 10)[1], exact, (10,))["10"]


def clustered(count: int, dimension: int) -> np.ndarray:
    """float32 [count, dimension]: clusters within clusters, with variances that fall as those of real embeddings do."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, dimension + 1) ** -0.5
    coarse = rng.normal(size=(40, dimension)) * scale
    fine = coarse[rng.integers(0, 40, 800)] + 0.6 * rng.normal(size=(800, dimension)) * scale
    points = fine[rng.integers(0, 800, count)] + 0.4 * rng.normal(size=(count, dimension)) * scale
    return points.astype(np.float32)


if __name__ == "__main__":
    main()
