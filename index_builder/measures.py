"""Measures of similarity: cosine, dot, Euclidean (l2) and city block (l1), for FAISS and for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from catalog.encoder_info import METRICS
from catalog.errors import UsageError
from index_builder.faiss_import import faiss


def check_metric(metric: str) -> str:
    """`metric` if it is known. Raises UsageError."""
    if metric not in METRICS:
        raise UsageError(f"--metric {metric} is unknown; expected one of {', '.join(METRICS)}")
    return metric


def faiss_metric(metric: str) -> Any:
    """FAISS's constant. Cosine is the inner product of vectors of unit length."""
    library = faiss()
    return {
        "cosine": library.METRIC_INNER_PRODUCT,
        "dot": library.METRIC_INNER_PRODUCT,
        "l2": library.METRIC_L2,
        "l1": library.METRIC_L1,
    }[metric]


def prepare(vectors: np.ndarray, metric: str) -> np.ndarray:
    """float32 [n, d], contiguous, and of unit length for cosine; what goes into an index and what asks it."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if metric != "cosine":
        return vectors
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)


def similarity(query: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """What FAISS would return: inner products, squared Euclidean distances or city block distances.

    Args:
        query: float32 [d], prepared.
        vectors: float32 [n, d], prepared.

    Returns:
        float32 [n].
    """
    if metric in ("cosine", "dot"):
        return vectors @ query
    if metric == "l2":
        return ((vectors - query) ** 2).sum(axis=1)
    return np.abs(vectors - query).sum(axis=1)


def larger_is_nearer(metric: str) -> bool:
    """Whether `similarity` grows towards the nearest."""
    return metric in ("cosine", "dot")


def score_and_distance(value: float, metric: str) -> tuple[float, float]:
    """What FAISS returned as a score (larger is nearer) and a distance (smaller is nearer).

    cosine: the cosine, and 1 - cosine. dot: the product, and its negative. l2, l1: 1 / (1 + distance), and the
    distance, for l2 the root of FAISS's squares.
    """
    if metric == "cosine":
        value = min(1.0, max(-1.0, value))  # Rounding goes past the ends.
        return value, 1.0 - value
    if metric == "dot":
        return value, -value
    distance = float(np.sqrt(max(value, 0.0))) if metric == "l2" else value
    return 1.0 / (1.0 + distance), distance
