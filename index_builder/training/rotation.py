"""The rotation before product quantization, in closed form.

Ge, He, Ke and Sun, "Optimized Product Quantization", 2013, the parametric solution: principal components, dealt to the
sub-quantizers so that the products of their variances balance.
"""

from __future__ import annotations

import numpy as np

from index_builder.threads import in_threads
from index_builder.training.row_store import BLOCK

_SMALLEST_VARIANCE = 1e-12


def balanced_rotation(vectors: np.ndarray, rotated: int, groups: int) -> np.ndarray:
    """An orthonormal map to `rotated` dimensions, whose consecutive runs of `rotated` / `groups` belong together.

    Args:
        vectors: float32 [n, d], the training sample.
        rotated: dimensions to keep, a multiple of `groups`, at most d.
        groups: sub-quantizers.

    Returns:
        float32 [rotated, d].
    """
    variances, components = np.linalg.eigh(_covariance(vectors))
    largest = np.argsort(-variances, kind="stable")[:rotated]
    members = deal_eigenvalues(variances[largest], groups)
    chosen = components[:, largest[np.concatenate(members)]]
    # The sign of an eigenvector is arbitrary: fixed here, so that it does not depend on the linear algebra library.
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(rotated)])
    return np.ascontiguousarray((chosen * signs).T, np.float32)


def _covariance(vectors: np.ndarray) -> np.ndarray:
    """float64 [d, d], of the cores' work in blocks of rows: summed in order, it does not depend on their number."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)

    def products(start: int) -> np.ndarray:
        centred = vectors[start : start + BLOCK] - mean
        return centred.T @ centred

    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    for part in in_threads(products, range(0, len(vectors), BLOCK)):
        total += part
    return total / len(vectors)


def deal_eigenvalues(variances: np.ndarray, groups: int) -> list[np.ndarray]:
    """Deals positions 0..n-1 of falling `variances` to `groups` of equal size: each to the open group whose product is
    smallest so far.

    Variances count in units of the smallest, so that products only grow; variances below 1 would make the smallest
    product smaller still, and fill one group after the other.
    """
    size = len(variances) // groups
    logs = np.log(np.maximum(variances, _SMALLEST_VARIANCE))
    logs -= logs.min()
    members: list[list[int]] = [[] for _ in range(groups)]
    products = np.zeros(groups)
    for position, log in enumerate(logs):
        open_groups = [g for g in range(groups) if len(members[g]) < size]
        best = min(open_groups, key=lambda g: (products[g], len(members[g]), g))
        members[best].append(position)
        products[best] += log
    return [np.array(group, np.int64) for group in members]


def principal_rotation(vectors: np.ndarray, rotated: int) -> np.ndarray:
    """float32 [rotated, d]: the principal components of float32 [n, d] vectors, largest first."""
    return balanced_rotation(vectors, rotated, 1)


def random_rotation(dimension: int, rotated: int, seed: int) -> np.ndarray:
    """float32 [rotated, dimension], orthonormal rows (or columns, where it adds dimensions), drawn at random."""
    size = max(dimension, rotated)
    drawn, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return np.ascontiguousarray((drawn * np.sign(np.diag(upper)))[:rotated, :dimension], np.float32)
