"""Small pictures of images, for people to look at in a report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from catalog import storage
from encoders.decode import DecodeError, DecodeLimits, decode

_SIDE = 192
_QUALITY = 70
_READERS = 16


def small_pictures(uris: Sequence[str]) -> dict[str, bytes]:
    """A WebP of at most 192 x 192 pixels by the location of its image, without those that cannot be read any more or
    are on a web server."""
    with ThreadPoolExecutor(_READERS) as pool:
        made = pool.map(_small, uris)
        return {uri: picture for uri, picture in zip(uris, made, strict=True) if picture is not None}


def _small(uri: str) -> bytes | None:
    if storage.scheme_of(uri) in ("http", "https"):
        return None
    try:
        picture = decode(storage.read_bytes(uri), DecodeLimits(), least=(_SIDE, _SIDE)).image
    except (OSError, storage.TransientError, DecodeError):
        return None
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    sink = io.BytesIO()
    picture.save(sink, "WEBP", quality=_QUALITY)
    return sink.getvalue()
