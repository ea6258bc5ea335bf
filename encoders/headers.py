"""What the header of a picture file asks for, counted before pixels are decoded.

Every count is bounded: by a number that the caller gives, or by the bytes of the file. Not for: what is too much.
"""

from __future__ import annotations

import struct

from PIL import Image

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags.
_SUB_BLOCKS = 1_000_000  # Of a GIF, at most 255 bytes each. Writers fill them, so this is more than 64 MiB.
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD9)}  # JPEG markers with nothing behind them.


def frame_count(image: Image.Image, data: bytes, most: int) -> int:
    """Frames or pages of an opened picture file. Counting stops just above `most`.

    PNG, WebP, AVIF and MPO say the number in their header. GIF and TIFF do not, and Pillow would decode or parse each
    frame to tell it; here their blocks and directories are only walked over.
    """
    if image.format == "GIF":
        return _gif_frames(data, most)
    if image.format == "TIFF":
        return _tiff_pages(data, most)
    return int(getattr(image, "n_frames", 1))


def tile_pixels(image: Image.Image) -> int:
    """Pixels of one tile of a TIFF, which is decoded whole however small the picture is; 0 for all others."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    width, length = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    return width * length if isinstance(width, int) and isinstance(length, int) else 0


def scan_count(image: Image.Image, data: bytes) -> int:
    """Scans of a JPEG: 1 for one that is decoded row by row, more for one whose coefficients are all held in memory and
    gone over once a scan. 1 for other formats.

    A scan may be a few bytes long and costs a walk over the whole picture, so a small file can ask for hours.
    """
    components = getattr(image, "layers", 0)
    if not components:
        return 1
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) <= len(data) - 5:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker == _START_OF_SCAN:
            if data[position + 4] == components and not image.info.get("progressive"):
                return 1
            # In coded data 0xFF is followed by 0, so these two bytes are nowhere else.
            return max(2, data.count(b"\xff\xda", position))
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 1


def gif_colors(flags: int) -> int:
    """Bytes of the colour table that the flags of a GIF's screen or image announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_frames(data: bytes, most: int) -> int:
    """Image blocks up to the trailer, the end of the file, or bytes that begin no block."""
    frames, blocks = 0, 0
    try:
        position = 13 + gif_colors(data[10])
        while frames <= most:
            kind = data[position]
            if kind == 0x2C:
                frames += 1
                position += 11 + gif_colors(data[position + 9])
            elif kind == 0x21:
                position += 2
            else:
                break
            while size := data[position]:
                position += size + 1
                blocks += 1
            position += 1
            if blocks > _SUB_BLOCKS:
                break
    except IndexError:
        pass
    return frames


def _tiff_pages(data: bytes, most: int) -> int:
    """Directories in the chain, each counted once."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset, number, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    seen: set[int] = set()
    try:
        (position,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        while position and position not in seen and len(seen) <= most:
            (entries,) = struct.unpack_from(order + number, data, position)
            seen.add(position)
            (position,) = struct.unpack_from(order + offset, data, position + struct.calcsize(number) + entry * entries)
    except (struct.error, OverflowError):
        pass
    return len(seen)
