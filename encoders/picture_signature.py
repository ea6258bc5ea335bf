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
    """The perceptual hash and the thumbnail of an RGB image.

    The hash is pHash: 32 x 32 grey values, the 8 x 8 lowest DCT coefficients, one bit each for being above their median
    (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010); the first coefficient is the
    highest bit. The grey values come from a filter that overlaps its neighbours: with the means of boxes, whose borders
    fall on whole pixels, a photo and the same one decoded to half its size would be 1.5 bits apart; so it is none.

    Returns:
        The 64-bit hash, and 192 bytes: 8 x 8 RGB, row by row.
    """
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    matrix = _dct_matrix()
    low = matrix @ np.asarray(small.convert("L"), np.float64) @ matrix.T
    bits = (low > np.median(low)).reshape(-1)
    phash = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return phash, small.resize((8, 8), Image.Resampling.BOX).tobytes()
