"""Pictures of a gallery: small files of bounded size, and thumbnails of 192 bytes where there is no file."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

_MOST_BYTES = 64 << 10
_A_FOLDER = 1_000
_THUMBNAIL_BYTES = 192

#: Base64 of the header of an 8 x 8 bitmap; the base64 of its pixels follows, for 54 bytes are no fraction of three.
BITMAP_HEADER = base64.b64encode(
    struct.pack("<2sIHHI", b"BM", 54 + _THUMBNAIL_BYTES, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, _THUMBNAIL_BYTES, 2_835, 2_835, 0, 0)
).decode()


class Pictures:
    """The picture files of a gallery, each stored once.

    Attributes:
        stored: files so far.
        refused: pictures that were too large, or neither WebP nor JPEG.
    """

    def __init__(self, picture: Callable[[str], bytes | None], put: Callable[[str, bytes], None]) -> None:
        """
        Args:
            picture: see `GalleryContents`. How many it gives is how many names are held here.
            put: stores a file by its name in the gallery.
        """
        self._picture = picture
        self._put = put
        self._by_uri: dict[str, str] = {}
        self._by_content: dict[bytes, str] = {}
        self.refused = 0

    @property
    def stored(self) -> int:
        return len(self._by_content)

    def shown(self, image_uri: str | None, thumbnail: bytes | None) -> Mapping[str, Any]:
        """What a page needs to show an image: {"picture": name below `pictures/`}, {"pixels": base64 of a bitmap's
        pixels}, or nothing."""
        name = self._file(image_uri) if image_uri else None
        if name is not None:
            return {"picture": name}
        pixels = bitmap_pixels(thumbnail)
        return {} if pixels is None else {"pixels": pixels}

    def _file(self, image_uri: str) -> str | None:
        if image_uri in self._by_uri:
            return self._by_uri[image_uri]
        data = self._picture(image_uri)
        if data is None:
            return None
        kind = _kind(data)
        if kind is None or len(data) > _MOST_BYTES:
            self.refused += 1
            return None
        content = hashlib.sha256(data).digest()[:16]
        name = self._by_content.get(content)
        if name is None:
            name = f"{self.stored // _A_FOLDER}/{content.hex()}.{kind}"
            self._put(f"pictures/{name}", data)
            self._by_content[content] = name
        self._by_uri[image_uri] = name
        return name


def bitmap_pixels(thumbnail: bytes | None) -> str | None:
    """Base64 of the pixels of a Windows bitmap, which has blue first and its last row first; None where `thumbnail` is
    not 8 x 8 RGB."""
    if thumbnail is None or len(thumbnail) != _THUMBNAIL_BYTES:
        return None
    rows = [thumbnail[start : start + 24] for start in range(0, _THUMBNAIL_BYTES, 24)]
    pixels = b"".join(row[at : at + 3][::-1] for row in reversed(rows) for at in range(0, 24, 3))
    return base64.b64encode(pixels).decode()


def _kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "jpg" if data[:3] == b"\xff\xd8\xff" else None
