from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from tests.conftest import draw_picture

LIMITS = DecodeLimits()


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def color_of(data: bytes) -> tuple[int, ...]:
    image = decode(data, LIMITS).image
    assert image.mode == "RGB"
    return image.getpixel((image.width // 2, image.height // 2))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "GIF", "ICO", "WEBP", "AVIF", "JPEG", "JPEG2000"])
def test_every_format_is_told_by_its_content(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind in ("AVIF", "JPEG") else {}
    data = saved(Image.new("RGB", (32, 32), (200, 30, 60)), kind, **options)
    np.testing.assert_allclose(color_of(data), (200, 30, 60), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (40, 20), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 20, 10))  # Red top left.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # The transpositions that turn upright into as-stored.
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(saved(stored, "PNG", exif=exif), LIMITS)
    image = picture.image
    assert image.size == (picture.width, picture.height) == (40, 20)
    assert image.getpixel((5, 3)) == (255, 0, 0)
    assert image.getpixel((35, 15)) == (0, 0, 255)


def test_alpha_lies_over_white_in_every_mode_that_has_it() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert color_of(saved(clear)) == (255, 255, 255)
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    np.testing.assert_allclose(color_of(saved(half)), (127, 127, 127), atol=1)
    assert color_of(saved(Image.new("LA", (8, 8), (0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert color_of(saved(palette)) == (10, 20, 30)
    assert color_of(saved(palette, transparency=1)) == (255, 255, 255)


def test_grey_bilevel_and_sixteen_bit_become_eight_bit_rgb() -> None:
    assert color_of(saved(Image.new("L", (8, 8), 77))) == (77, 77, 77)
    assert color_of(saved(Image.new("1", (8, 8), 1))) == (255, 255, 255)
    deep = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    assert color_of(saved(deep)) == (128, 128, 128)
    assert color_of(saved(Image.fromarray(np.full((8, 8), 200, np.uint16)))) == (1, 1, 1)
    assert color_of(saved(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF")) == (128, 128, 128)


def test_cmyk_and_lab_become_srgb() -> None:
    assert color_of(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF")) == (255, 0, 0)
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (16, 16), (200, 60, 30)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    np.testing.assert_allclose(color_of(saved(lab, "TIFF")), (200, 60, 30), atol=4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_of_several_frames_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert color_of(data) == (255, 0, 0)


def reason_of(data: bytes, limits: DecodeLimits = LIMITS) -> Reason:
    with pytest.raises(DecodeError) as raised:
        decode(data, limits)
    return raised.value.reason


def test_what_is_no_picture_has_a_reason() -> None:
    whole = saved(draw_picture(1, (200, 200)), "JPEG")
    assert reason_of(b"") == Reason.EMPTY
    assert reason_of(b"<html>404</html>") == Reason.UNSUPPORTED_FORMAT
    assert reason_of(whole[: len(whole) // 2]) == Reason.TRUNCATED
    assert reason_of(b"\x89PNG\r\n\x1a\n" + b"\0" * 40) == Reason.UNDECODABLE
    assert reason_of(whole, DecodeLimits(max_bytes=len(whole) - 1)) == Reason.TOO_MANY_BYTES


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(("width", "height"), [(8_001, 8_000), (60_000, 60_000)])
def test_the_pixel_limit_is_checked_on_the_header(width: int, height: int) -> None:
    data = png_header(width, height) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xaeB`\x82"
    assert reason_of(data) == Reason.TOO_MANY_PIXELS


def test_a_broken_exif_block_does_not_lose_the_picture() -> None:
    data = saved(draw_picture(3, (64, 64)), "JPEG", exif=b"Exif\0\0garbage that is no TIFF header")
    assert decode(data, LIMITS).image.size == (64, 64)
