"""What is kept of the pixels beside the vector, for finding duplicates later: hashes and a thumbnail."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import xxhash
from PIL import Image

from encoders.decode import Picture

_SIDE = 32
_LOW = 8
_SIDE_256 = 64
_LOW_256 = 16
# Of the DCT behind the 256-bit hash: coarse enough that every sum of its products is exact in float64.
_STEPS = 1 << 14
# What is made of so many pixels stays in the cache.
_PIXELS_AT_ONCE = 1 << 14
_PIXELS_IN_A_COPY = 1 << 20
# Ored to the four bytes of a pixel as Pillow holds it, of which the last means nothing.
_FOURTH_BYTE = np.frombuffer(b"\0\0\0\xff", np.uint32)[0]


def _dct(low: int, side: int) -> np.ndarray:
    """float64 [low, side]: the low rows of the orthogonal DCT-II matrix, but for their scale."""
    k, n = np.meshgrid(np.arange(low), np.arange(side), indexing="ij")
    return np.cos(np.pi * (2 * n + 1) * k / (2 * side))


@functools.cache
def _dct_matrix() -> np.ndarray:
    return _dct(_LOW, _SIDE)


@functools.cache
def _whole_dct_matrix() -> np.ndarray:
    return np.rint(_STEPS * _dct(_LOW_256, _SIDE_256))


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


def phash_256(image: Image.Image) -> bytes:
    """The longer perceptual hash of the same RGB image: 64 x 64 grey values, the 16 x 16 lowest DCT coefficients, one
    bit each for being above their median.

    The cosines are rounded to whole numbers of 2^-14, so that the coefficients are exact: the hash is the same on every
    processor, and that of a picture of one colour is one bit, or none for black. An image with a side below 64 is
    enlarged by repeating pixels.

    Returns:
        32 bytes; the first coefficient is the highest bit of the first.
    """
    small = image.resize((_SIDE_256, _SIDE_256), Image.Resampling.BOX).convert("L")
    grey = np.frombuffer(small.tobytes(), np.uint8).reshape(_SIDE_256, _SIDE_256)
    matrix = _whole_dct_matrix()
    low = (matrix @ grey @ matrix.T).reshape(-1)
    ordered = np.sort(low)
    median = (ordered[127] + ordered[128]) / 2
    return np.packbits(low > median).tobytes()


def pixel_hash(picture: Picture) -> bytes:
    """The same for files with the same pixels, whatever else is in them: another EXIF block, another compression
    without loss, upright by its orientation or by its pixels. Made for accidents, not against forgers.

    Returns:
        16 bytes: xxh3-128 of four little-endian uint32 (width and height of `picture.image`, then of the original) and
        of red, green, blue and 255 for each pixel, row by row.
    """
    hashed = xxhash.xxh3_128(struct.pack("<4I", *picture.image.size, picture.width, picture.height))
    buffer = np.empty(_PIXELS_AT_ONCE, np.uint32)
    for pixels in _pieces(picture.image):
        for first in range(0, len(pixels), _PIXELS_AT_ONCE):
            some = pixels[first : first + _PIXELS_AT_ONCE]
            hashed.update(np.bitwise_or(some, _FOURTH_BYTE, out=buffer[: len(some)]))
    return hashed.digest()


def _pieces(image: Image.Image) -> Iterator[np.ndarray]:
    """The pixels of an RGB image, row by row, as uint32 arrays: Pillow's own memory, as a copy without the fourth byte
    of each takes several times as long as the hash."""
    try:
        whole = pa.array(image)
    except ValueError:  # It is in several blocks, 16 MiB each by default; a row is always in one.
        if image.height == 1:
            raise
        rows = max(1, min(_PIXELS_IN_A_COPY // image.width, image.height // 2))
        for top in range(0, image.height, rows):
            yield from _pieces(image.crop((0, top, image.width, min(top + rows, image.height))))
    else:
        yield np.frombuffer(whole.buffers()[-1], np.uint32)
