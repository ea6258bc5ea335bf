"""Does a picture file end before its own structure says? Asked only of files that did not decode.

Pillow's message tells for some formats. For others a file that was cut and one that is garbage fail with the same
words, and the two want different care: one is fetched again, the other is not a picture. Each function walks over a
container, as its specification lays it out, without decoding. Not for: whether what is there makes sense.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from encoders.headers import gif_colors

_TIFF_PIXELS = ((273, 279), (324, 325))  # Offsets and byte counts, of strips and of tiles.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # Bytes, by type.
_TIFF_INTEGERS = {3: "H", 4: "I"}


def ends_early(data: bytes) -> bool:
    """Whether the structure of the file reaches beyond its last byte; False for formats that are not known here."""
    for known, early in _WALKS:
        if known(data):
            try:
                return early(data)
            except (IndexError, struct.error):  # What was to be read lies beyond the end.
                return True
    return False


def _jpeg(data: bytes) -> bool:
    """Segments up to the first scan."""
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in (0x01, *range(0xD0, 0xD9)):
            position += 2
        elif marker == 0xDA:
            return False
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return False


def _png(data: bytes) -> bool:
    """Chunks up to IEND."""
    if len(data) >= 16 and data[8:16] != b"\0\0\0\x0dIHDR":
        return False
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND" or not kind.isalpha():
            return False
        position += 12 + length


def _gif(data: bytes) -> bool:
    """The screen and its colours, and the first image block."""
    if 0 in struct.unpack_from("<HH", data, 6):
        return False
    position = 13 + gif_colors(data[10])
    while (kind := data[position]) in (0x21, 0x2C):
        position += 2 if kind == 0x21 else 11 + gif_colors(data[position + 9])
        while size := data[position]:
            position += size + 1
        position += 1
        if kind == 0x2C:
            return False
    return False


def _webp(data: bytes) -> bool:
    return 8 + struct.unpack_from("<I", data, 4)[0] > len(data)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and end of the boxes of an ISO base media file, up to one that is none."""
    position = 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
        position = len(data) if size == 0 else position + size
        if size in range(1, 8) or not kind.isascii():
            return
        yield kind, position


def _avif(data: bytes) -> bool:
    return any(end > len(data) for _, end in _boxes(data))


def _jpeg_2000(data: bytes) -> bool:
    """The codestream, in boxes or bare. It ends with its own marker; lengths of boxes are often wrong."""
    if not data.startswith(b"\xff\x4f") and not any(kind == b"jp2c" for kind, _ in _boxes(data)):
        return any(end > len(data) for _, end in _boxes(data))
    return b"\xff\xd9" not in data[-16:]


def _ico(data: bytes) -> bool:
    (entries,) = struct.unpack_from("<H", data, 4)
    return any(sum(struct.unpack_from("<II", data, 6 + 16 * entry + 8)) > len(data) for entry in range(entries))


def _bmp(data: bytes) -> bool:
    return len(data) < 14 + struct.unpack_from("<I", data, 14)[0] <= 14 + 124


def _tiff(data: bytes) -> bool:
    """The first directory, the values behind it, and the pixels that it points to."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    values: dict[int, tuple[int, ...]] = {}
    for place in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, place)
        at, size = place + 8, count * _TIFF_SIZES.get(kind, 0)
        if size > 4:
            (at,) = struct.unpack_from(order + "I", data, at)
        if at + size > len(data):
            return True
        if kind in _TIFF_INTEGERS and any(tag in pair for pair in _TIFF_PIXELS):
            values[tag] = struct.unpack_from(f"{order}{count}{_TIFF_INTEGERS[kind]}", data, at)
    return any(
        offset + length > len(data)
        for offsets, lengths in _TIFF_PIXELS
        for offset, length in zip(values.get(offsets, ()), values.get(lengths, ()), strict=False)
    )


_WALKS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], bool]], ...] = (
    (lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    (lambda data: data.startswith(b"\x89PNG"), _png),
    (lambda data: data.startswith(b"GIF8"), _gif),
    (lambda data: data.startswith(b"RIFF") and data[8:12] in (b"WEBP", b""), _webp),
    (lambda data: data[4:12] in (b"ftypavif", b"ftypavis"), _avif),
    (lambda data: data.startswith((b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")), _jpeg_2000),
    (lambda data: data.startswith(b"\0\0\1\0"), _ico),
    (lambda data: data.startswith(b"BM"), _bmp),
    (lambda data: data.startswith((b"II*\0", b"MM\0*")), _tiff),
)
