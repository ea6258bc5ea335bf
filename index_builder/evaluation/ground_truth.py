"""Exact neighbours, found by streaming all vectors past the queries, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.measures import faiss_metric, larger_is_nearer

DEPTH = 101  # The deepest recall is at 100, and a query that is an item finds itself.


@dataclass(frozen=True)
class Neighbours:
    """For each query, nearest first: `rows` int64 [q, k], -1 where there is none; `values` float32 [q, k], as FAISS
    measures."""

    rows: np.ndarray
    values: np.ndarray


def exact_neighbours(
    queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray, metric: str, depth: int = DEPTH
) -> Neighbours:
    """The nearest of a block of vectors.

    Args:
        queries: float32 [q, d], prepared.
        vectors: float32 [n, d], prepared.
        rows: int64 [n], their row numbers.
    """
    depth = min(depth, len(vectors))
    if depth == 0:
        return Neighbours(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
    values, found = faiss().knn(queries, vectors, depth, metric=faiss_metric(metric))
    return Neighbours(rows[found], values)


def merge_neighbours(parts: Sequence[Neighbours], metric: str, depth: int = DEPTH) -> Neighbours:
    """The nearest of all parts; of equals, the lower row first."""
    rows = np.concatenate([part.rows for part in parts], axis=1)
    values = np.concatenate([part.values for part in parts], axis=1)
    keys = -values if larger_is_nearer(metric) else values
    order = np.lexsort((rows, keys), axis=1)[:, :depth]
    return Neighbours(np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1))
