"""When a perceptual hash says nothing, and when two pictures with near hashes are seen to differ.

A hash tells which terms of a picture's cosine transform are above their median. Of a picture with few terms that are
not nearly zero, a flat or two-toned one, most bits are noise or follow from its layout alone, so unrelated ones collide
at a distance of 0.

The bounds were chosen on 3,017 photos of groceries, and 22 edits of each of 300. Of the pairs of one photo within 4
bits, 93 in 100 agree that have no grey version, and 80 of all: products of one shape and two colours differ as much as
a photo and its grey version, which the thumbnail tier finds. Every photo and edit has 14 large terms or more and a
range of 34 levels; a split, a stripe and a gradient have 7 terms or fewer.
"""

from __future__ import annotations

import numpy as np

SIDE = 8
VALUES = SIDE * SIDE * 3

#: Correlation of the thumbnails of a pair, over cells and channels: brightness and contrast do not count. A bound on
#: their difference would be met by any two small products on white.
LEAST_CORRELATION = 0.95
_LEAST_RANGE = 16
_LARGE_TERM = 8.0
_LEAST_LARGE_TERMS = 10
_LUMA = np.array([299, 587, 114])
_BLOCK = 16_384


def tells(thumbnails: np.ndarray) -> np.ndarray:
    """bool [n]: whether the perceptual hash of a picture means something.

    Args:
        thumbnails: uint8 [n, 192], 8 x 8 RGB, row by row.
    """
    answer = np.empty(len(thumbnails), np.bool_)
    matrix = _dct_matrix()
    for start in range(0, len(thumbnails), _BLOCK):
        block = thumbnails[start : start + _BLOCK].reshape(-1, SIDE * SIDE, 3)
        luma = (block @ _LUMA).astype(np.float64) / 1000
        terms = np.abs(np.einsum("ij,njk,lk->nil", matrix, luma.reshape(-1, SIDE, SIDE), matrix)).reshape(-1, SIDE**2)
        large = (terms[:, 1:] >= _LARGE_TERM).sum(axis=1)
        spread = luma.max(axis=1, initial=0) - luma.min(axis=1, initial=255)
        answer[start : start + _BLOCK] = (spread >= _LEAST_RANGE) & (large >= _LEAST_LARGE_TERMS)
    return answer


def agree(a: np.ndarray, b: np.ndarray, least: float = LEAST_CORRELATION) -> np.ndarray:
    """bool [n]: whether the values of pairs of thumbnails have at least such a correlation. Sums are whole numbers, so
    that the answer does not depend on a machine.

    Args:
        a: uint8 [n, 192].
        b: uint8 [n, 192].
        least: above 0.
    """
    answer = np.empty(len(a), np.bool_)
    for start in range(0, len(a), _BLOCK):
        one, other = (side[start : start + _BLOCK].astype(np.int64) for side in (a, b))
        one, other = (VALUES * side - side.sum(axis=1, keepdims=True) for side in (one, other))
        together = (one * other).sum(axis=1)
        alone = (one * one).sum(axis=1).astype(np.float64) * (other * other).sum(axis=1)
        answer[start : start + _BLOCK] = (together > 0) & (together.astype(np.float64) ** 2 >= least**2 * alone)
    return answer


def _dct_matrix() -> np.ndarray:
    """float64 [8, 8]: the orthogonal DCT-II matrix."""
    k, n = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE)) / 2
    matrix[0] /= np.sqrt(2)
    return matrix
