"""Vectors that somebody asks with, before anything is asked."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from catalog.errors import UsageError


def check_count(k: object) -> None:
    """Raises UsageError for a k that is no number of results."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise UsageError(f"k is {k!r}; expected how many results, a whole number from 1 on")


def check_queries(vectors: np.ndarray, dimension: int, metric: str) -> np.ndarray:
    """float32 [n, d] of vectors [d] or [n, d].

    Raises:
        UsageError: a vector has another dimension, a value that is no number, or no direction.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim not in (1, 2) or vectors.shape[-1] != dimension:
        raise UsageError(f"the vector has shape {list(vectors.shape)}, the index wants [{dimension}]")
    queries = vectors[None] if vectors.ndim == 1 else vectors
    for wrong, what in (
        (~np.isfinite(queries).all(axis=1), "has a value that is not a finite number"),
        (~queries.any(axis=1), "is all zeros, which has no direction and no cosine"),
    ):
        if wrong.any() and (metric == "cosine" or "zeros" not in what):
            which = "the vector" if vectors.ndim == 1 else f"vector {int(wrong.argmax())}"
            raise UsageError(f"{which} {what}")
    return queries
