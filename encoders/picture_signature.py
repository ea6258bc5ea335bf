"""What is kept of the pixels beside the vector, for finding duplicates later: a perceptual hash and a thumbnail."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

_SIDE = 32
_LOW = 8


@functools.cache
def _dct_matrix() -> np.ndarray:
    """float64 [8, 32]: the low rows of the orthogonal DCT-II matrix of size 32."""
    k, n = np.meshgrid(np.arange(_LOW), np.arange(_SIDE), indexing="ij")
    return np.cos(np.pi * (2 * n + 1) * k / (2 * _SIDE))


def signature(image: Image.Image) -> tuple[int, bytes]:
    """The perceptual hash and the thumbnail of an RGB image: a picture at an encoder's input size, small and without
    patterns that would alias.

    The hash is pHash: 32 x 32 grey values, the 8 x 8 lowest DCT coefficients, one bit each for being above their median
    (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010); the first coefficient is the
    highest bit.

    Returns:
        The 64-bit hash, and 192 bytes: 8 x 8 RGB, row by row.
    """
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    matrix = _dct_matrix()
    grey = np.frombuffer(small.convert("L").tobytes(), np.uint8).reshape(_SIDE, _SIDE)
    low = (matrix @ grey @ matrix.T).reshape(-1)
    ordered = np.sort(low)
    median = (ordered[31] + ordered[32]) / 2
    phash = int.from_bytes(np.packbits(low > median).tobytes(), "big")
    return phash, small.resize((8, 8), Image.Resampling.BOX).tobytes()
