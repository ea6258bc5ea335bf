"""Whitening: features turned and scaled so that what is common to all pictures counts little, and what tells them apart
much.

Mean and covariance of a sample are shrunk towards those of a prior, so that ten pictures are enough. All numbers that a
projection uses are rounded to 20 bits; so its sums over up to 8,192 dimensions are exact, and the same on every
machine and for every cut of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dedupe.views import BYTES, SIDE
from index_builder.threads import single_threaded_math

_BITS = 20
# Of float64: below, numbers lose bits.
_SMALLEST_EXPONENT = -1000
_BLOCK = 4096
# Directions that hardly vary hold noise: they are scaled as if they had this share more of the largest variance.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Prior:
    """What is believed before a sample is seen.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d].
        mean_rows, rows: how many rows of a sample the prior's mean and covariance weigh as much as.
    """

    mean: np.ndarray
    covariance: np.ndarray
    mean_rows: float
    rows: float


@dataclass(frozen=True)
class Whitening:
    """x becomes (x - mean) @ matrix.

    Attributes:
        mean: float32 [d].
        matrix: float32 [d, k].
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, sample: np.ndarray, k: int, prior: Prior) -> Whitening:
        """From [n, d] rows, n from 0 on; k is at most d. The order of the rows changes last bits only."""
        with single_threaded_math:
            mean, covariance = _moments(sample)
            mean = (len(sample) * mean + prior.mean_rows * prior.mean) / (len(sample) + prior.mean_rows)
            covariance = (len(sample) * covariance + prior.rows * prior.covariance) / (len(sample) + prior.rows)
            variances, directions = np.linalg.eigh(covariance)
        largest = np.argsort(-variances, kind="stable")[:k]
        variances, directions = np.maximum(variances[largest], 0), directions[:, largest]
        # The sign of an eigenvector is arbitrary: fixed here, so that it does not depend on the linear algebra library.
        directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
        scaled = directions / np.sqrt(variances + _FLOOR * max(variances[0], np.finfo(np.float32).tiny))
        return cls(rounded(mean).astype(np.float32), rounded(scaled).astype(np.float32))

    def project(self, rows: np.ndarray) -> np.ndarray:
        """float64 [n, k] of rows [n, d] that `rounded` has rounded one by one, or that are whole and below 2**20."""
        matrix = self.matrix.astype(np.float64)
        return rows.astype(np.float64) @ matrix - self.mean.astype(np.float64) @ matrix


def rounded(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """float64: values rounded to multiples of a power of two, 2**-20 of the largest or larger.

    Args:
        values: of any shape, finite.
        axis: along which the largest is looked for; None for all values.
    """
    values = np.asarray(values, np.float64)
    exponent = np.frexp(np.abs(values).max(axis=axis, keepdims=True, initial=0.0))[1]
    unit = np.ldexp(1.0, np.maximum(exponent, _SMALLEST_EXPONENT) - _BITS)
    return np.rint(values / unit) * unit


def thumbnail_prior() -> Prior:
    """Of pictures in general, in levels of 0 to 255: a mid grey, light and dark in large shapes rather than in small
    ones, and ten times as much of it as of colour."""
    frequency = np.arange(SIDE)
    cosines = np.cos(np.pi * (np.arange(SIDE)[:, None] + 0.5) * frequency / SIDE)
    cosines /= np.linalg.norm(cosines, axis=0)
    power = 1 / (frequency[:, None] ** 2 + frequency**2 + 1.0)
    basis = np.kron(cosines, cosines)
    space = (basis * power.ravel()) @ basis.T
    colour = np.full((3, 3), 1 / 3) + 0.1 * (np.eye(3) - 1 / 3)
    covariance = np.kron(space, colour)
    level = 60.0**2  # The variance of a byte of a photo.
    return Prior(np.full(BYTES, 128.0), covariance * level / covariance.diagonal().mean(), 1.0, 100.0)


def embedding_prior(sample: np.ndarray) -> Prior:
    """Of vectors of which nothing is known but their [n, d] sample: no direction varies more than another."""
    dimension = sample.shape[1]
    mean, covariance = _moments(sample)
    spread = covariance.trace() / dimension or float((mean**2).mean()) or 1.0
    return Prior(np.zeros(dimension), np.eye(dimension) * spread, 1.0, dimension / 8)


def _moments(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [d] and [d, d], summed over blocks of rows; zeros of no rows."""
    dimension = sample.shape[1]
    if len(sample) == 0:
        return np.zeros(dimension), np.zeros((dimension, dimension))
    mean = sample.mean(axis=0, dtype=np.float64)
    total = np.zeros((dimension, dimension))
    for start in range(0, len(sample), _BLOCK):
        centred = sample[start : start + _BLOCK].astype(np.float64) - mean
        total += centred.T @ centred
    return mean, total / len(sample)
