"""How often two-level assignment finds the nearest centroid of all, how near it comes, and how much faster it is.

`python -m benchmarks.assignment --vectors F.npy --json` trains centroids on real vectors as a build does, and assigns
others to them: by the few nearest cells, and by comparing all centroids, as FAISS's flat quantizer does. It also trains
them with FAISS's k-means and SuperKMeans over all centroids at once, for what two levels cost in nearness.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.report import print_report
from index_builder.faiss_import import faiss
from index_builder.measures import prepare
from index_builder.training.centroids import train_centroids
from index_builder.training.codebook import assign_all
from index_builder.training.row_store import RowStore

_TRAINING_PER_LIST = 64
_ASSIGNED = 100_000
_ITERATIONS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True, metavar="F.npy", help="real vectors, float32 [n, d]")
    parser.add_argument("--lists", nargs="+", type=int, default=[1_024, 2_048, 4_096])
    parser.add_argument("--whole", action="store_true", help="train over all centroids at once too: minutes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    vectors = prepare(np.load(args.vectors), "cosine")
    vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    runs = [measure(vectors, lists, args.whole) for lists in args.lists]
    print_report("assignment", args.json, runs=runs)


def measure(vectors: np.ndarray, lists: int, whole: bool) -> dict[str, Any]:
    """Of one number of lists."""
    count = min(_TRAINING_PER_LIST * lists, len(vectors) // 2)
    rows, others = RowStore(None, count, vectors.shape[1]), vectors[count : count + _ASSIGNED]
    rows.write(0, vectors[:count])
    started = time.perf_counter()
    tree = train_centroids(rows, lists, True, 1, None)
    training = time.perf_counter() - started
    started = time.perf_counter()
    found = assign_all(tree, others)
    two_levels = time.perf_counter() - started
    started = time.perf_counter()
    exact, cosines = nearest(tree.centroids, others)
    all_centroids = time.perf_counter() - started
    report: dict[str, Any] = {
        "lists": lists,
        "cells": len(tree.cells),
        "cells_looked_into": round(len(tree._pairs(others[:8_192])[1]) / 8_192, 2),
        "agreement": round(float((found == exact).mean()), 4),
        "mean_cosine_over_exact": round(float((others * tree.centroids[found]).sum(axis=1).mean() / cosines.mean()), 5),
        "speed_over_flat": round(all_centroids / two_levels, 2),
        "training_seconds": round(training, 2),
    }
    if whole:
        for name, train in (("k_means", _k_means), ("super_k_means", _super_k_means)):
            started = time.perf_counter()
            centroids = prepare(train(vectors[:count], lists), "cosine")
            seconds = time.perf_counter() - started
            report[f"training_speed_over_{name}"] = round(seconds / training, 2)
            report[f"mean_cosine_over_{name}"] = round(float(cosines.mean() / nearest(centroids, others)[1].mean()), 5)
    return report


def nearest(centroids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid of all, and the inner product with it."""
    index = faiss().IndexFlatIP(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))
    cosines, found = index.search(vectors, 1)
    return found[:, 0], cosines[:, 0]


def _k_means(vectors: np.ndarray, lists: int) -> np.ndarray:
    library = faiss()
    settings = library.ClusteringParameters()
    settings.niter, settings.spherical = _ITERATIONS, True
    clustering = library.Clustering(vectors.shape[1], lists, settings)
    clustering.train(vectors, library.IndexFlatIP(vectors.shape[1]))
    return library.vector_to_array(clustering.centroids).reshape(lists, -1)


def _super_k_means(vectors: np.ndarray, lists: int) -> np.ndarray:
    clustering = faiss().SuperKmeans(vectors.shape[1], lists, niter=_ITERATIONS)
    clustering.train(np.ascontiguousarray(vectors))
    return np.asarray(clustering.centroids)


if __name__ == "__main__":
    main()
