"""Small pictures of images, for people to look at in a report."""

from __future__ import annotations

import io

from PIL import Image

from catalog import storage
from encoders.decode import DecodeError, DecodeLimits, decode

_SIDE = 192
_QUALITY = 70


class ReportPictures:
    """Reads images and makes small ones, up to a number of them.

    Args:
        most: how many images are read.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, uri: str) -> bytes | None:
        """A WebP of at most 192 x 192 pixels; None where the image cannot be read any more, is on a web server, or is
        one too many."""
        if self._left <= 0 or storage.scheme_of(uri) in ("http", "https"):
            return None
        self._left -= 1
        try:
            picture = decode(storage.read_bytes(uri), DecodeLimits(), least=(_SIDE, _SIDE)).image
        except (OSError, storage.TransientError, DecodeError):
            return None
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        sink = io.BytesIO()
        picture.save(sink, "WEBP", quality=_QUALITY)
        return sink.getvalue()
