"""Small files that ask for much end as rejects, by their header."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.headers import frame_count, scan_count
from tests.conftest import draw_picture


def saved(kind: str, frames: int = 1, **options: object) -> bytes:
    images = [draw_picture(seed, (40, 30)) for seed in range(frames)]
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:]}
    sink = io.BytesIO()
    images[0].save(sink, kind, **options)
    return sink.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def reason_of(data: bytes, limits: DecodeLimits) -> Reason:
    with pytest.raises(DecodeError) as raised:
        decode(data, limits)
    return raised.value.reason


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "AVIF", "MPO"])
def test_frames_and_pages_are_counted_in_every_format_that_has_them(kind: str) -> None:
    data = saved(kind, 7)
    assert frame_count(opened(data), data, 100) == 7
    assert frame_count(opened(saved(kind)), saved(kind), 100) == 1
    assert reason_of(data, DecodeLimits(max_frames=6)) == Reason.TOO_MANY_FRAMES
    assert decode(data, DecodeLimits(max_frames=7)).image.size == (40, 30)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_counting_stops_where_the_limit_is_passed(kind: str) -> None:
    data = saved(kind, 7)
    assert frame_count(opened(data), data, 3) == 4


def test_pages_that_point_to_each_other_in_a_circle_are_counted_once() -> None:
    data = bytearray(saved("TIFF", 2))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * entries)
    (entries,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * entries, first)
    assert frame_count(opened(bytes(data)), bytes(data), 100) == 2


def test_a_huge_tile_of_a_small_tiff_is_refused_before_it_is_inflated() -> None:
    side = 20_000
    pixels = zlib.compress(bytes(1_000))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert opened(data).size == (16, 16)
    assert reason_of(data, DecodeLimits()) == Reason.TOO_MANY_PIXELS


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    plain, progressive = saved("JPEG"), saved("JPEG", progressive=True)
    assert scan_count(opened(plain), plain) == 1
    assert 5 < scan_count(opened(progressive), progressive) < 20
    assert scan_count(opened(saved("PNG")), saved("PNG")) == 1
    assert decode(progressive, DecodeLimits()).image.size == (40, 30)
    assert reason_of(with_scans(600), DecodeLimits()) == Reason.TOO_MANY_FRAMES


def test_a_thumbnail_in_the_header_is_not_a_scan() -> None:
    thumbnail = saved("JPEG")
    data = saved("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail)
    assert data.count(b"\xff\xda") == 2
    assert scan_count(opened(data), data) == 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_compressed_text_or_profile_that_expands_without_end_is_a_reject(kind: bytes) -> None:
    data = saved("PNG")
    after_header = 33
    bomb = zlib.compress(bytes(50_000_000), 9)
    body = b"name\0" + {b"iCCP": b"\0", b"zTXt": b"\0", b"iTXt": b"\1\0\0\0"}[kind] + bomb
    bombed = data[:after_header] + chunk(kind, body) + data[after_header:]
    assert len(bombed) < 100_000
    assert reason_of(bombed, DecodeLimits()) == Reason.UNDECODABLE
