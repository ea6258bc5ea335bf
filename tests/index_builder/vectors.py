"""Vectors for the tests: clustered, as real embeddings are."""

from __future__ import annotations

import numpy as np

from index_builder.planning.index_plan import IndexPlan


def small_plan(metric: str) -> IndexPlan:
    """An IVF-PQ index of 24 dimensions that trains in a moment."""
    return IndexPlan(
        family="ivf_pq",
        factory="OPQ4_16,IVF16,PQ4",
        metric=metric,
        dimension=24,
        rotation="opq",
        rotated=16,
        lists=16,
        code="pq8",
        code_bytes=4,
        subquantizers=4,
        training_rows=3_000,
    )


def clustered(count: int, dimension: int, seed: int = 0, clusters: int = 40) -> np.ndarray:
    """float32 [count, dimension] around `clusters` centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dimension))
    return (centres[rng.integers(0, clusters, count)] + 0.4 * rng.normal(size=(count, dimension))).astype(np.float32)


def exact_rows(queries: np.ndarray, vectors: np.ndarray, metric: str, k: int) -> np.ndarray:
    """int64 [q, k], the slow way: every distance in float64, sorted."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    result = []
    for query in queries:
        if metric in ("cosine", "dot"):
            far = -(vectors @ query)
        elif metric == "l2":
            far = np.sqrt(((vectors - query) ** 2).sum(axis=1))
        else:
            far = np.abs(vectors - query).sum(axis=1)
        result.append(np.argsort(far, kind="stable")[:k])
    return np.array(result)
