"""Golden pixels: what a colour must become, by the formulas of its colour space."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from encoders import color
from encoders.color import to_eight_bits
from encoders.decode import DecodeLimits, decode
from tests.encoders.color_profiles import (
    ADOBE_GAMMA,
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    lab_to_srgb,
    rgb_profile,
    srgb_to_linear,
    to_srgb,
)

COLORS = [(200, 60, 30), (20, 220, 90), (60, 80, 200), (128, 128, 128), (10, 10, 10), (255, 255, 255), (0, 0, 0)]


def color_of(image: Image.Image, kind: str = "PNG", **options: object) -> tuple[int, ...]:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return middle(sink.getvalue())


def middle(data: bytes) -> tuple[int, ...]:
    image = decode(data, DecodeLimits()).image
    assert image.mode == "RGB"
    return image.getpixel((image.width // 2, image.height // 2))


def plain(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (16, 16), value)


@pytest.mark.parametrize("rgb", COLORS)
def test_display_p3_and_adobe_rgb_become_srgb_by_their_profile(rgb: tuple[int, int, int]) -> None:
    values = np.array(rgb) / 255
    p3 = to_srgb(np.array(DISPLAY_P3) @ srgb_to_linear(values))
    np.testing.assert_allclose(color_of(plain("RGB", rgb), icc_profile=rgb_profile(DISPLAY_P3)), p3, atol=2)
    adobe = to_srgb(np.array(ADOBE_RGB) @ values**ADOBE_GAMMA)
    profile = rgb_profile(ADOBE_RGB, ADOBE_GAMMA)
    # Near black a power curve is all but flat, which 8-bit tables round.
    np.testing.assert_allclose(color_of(plain("RGB", rgb), icc_profile=profile), adobe, atol=2 if max(rgb) > 10 else 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_found_in_every_format_that_has_it(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    expected = to_srgb(np.array(DISPLAY_P3) @ srgb_to_linear(np.array((200, 60, 30)) / 255))
    found = color_of(plain("RGB", (200, 60, 30)), kind, icc_profile=rgb_profile(DISPLAY_P3), **options)
    assert expected[0] >= 214
    np.testing.assert_allclose(found, expected, atol=4)


@pytest.mark.parametrize("rgb", COLORS)
def test_a_profile_that_is_srgb_by_another_name_changes_no_pixel(rgb: tuple[int, int, int]) -> None:
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (standard, rgb_profile(SRGB)):
        assert color_of(plain("RGB", rgb), icc_profile=profile) == rgb


def test_a_grey_profile_is_applied_to_grey_and_a_grey_one_like_srgb_is_not() -> None:
    linear = color_of(plain("L", 55), icc_profile=grey_profile(1.0))
    np.testing.assert_allclose(linear, to_srgb(np.array(SRGB).sum(axis=1) * 55 / 255), atol=2)
    assert linear[0] > 120
    assert color_of(plain("L", 55), icc_profile=grey_profile()) == (55, 55, 55)


def test_an_rgb_profile_also_counts_for_grey() -> None:
    expected = to_srgb(np.array(ADOBE_RGB).sum(axis=1) * (100 / 255) ** 1.0)
    np.testing.assert_allclose(color_of(plain("L", 100), icc_profile=rgb_profile(ADOBE_RGB, 1.0)), expected, atol=2)


@pytest.mark.parametrize(
    "profile",
    [b"broken", rgb_profile(DISPLAY_P3)[:200], grey_profile(1.0), cmyk_profile({})],
    ids=["bytes", "cut", "grey", "cmyk"],
)
def test_a_profile_that_is_broken_or_of_another_space_is_ignored(profile: bytes) -> None:
    assert color_of(plain("RGB", (200, 60, 30)), icc_profile=profile) == (200, 60, 30)


def test_a_profile_applies_to_the_colours_of_a_palette_and_under_transparency() -> None:
    profile = rgb_profile(DISPLAY_P3)
    expected = to_srgb(np.array(DISPLAY_P3) @ srgb_to_linear(np.array((200, 60, 30)) / 255)).astype(int)
    palette = plain("P", 1)
    palette.putpalette([0, 0, 0, 200, 60, 30])
    np.testing.assert_allclose(color_of(palette, icc_profile=profile), expected, atol=2)
    half = color_of(plain("RGBA", (200, 60, 30, 128)), icc_profile=profile)
    np.testing.assert_allclose(half, (expected * 128 + 255 * 127) / 255, atol=2)


def test_a_transform_is_built_once_for_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = ImageCms.buildTransform
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *arguments: built.append(1) or build(*arguments))
    profile = rgb_profile(DISPLAY_P3, 1.7)
    for value in range(5):
        color_of(plain("RGB", (value, 60, 30)), icc_profile=profile)
    assert len(built) == 1
    for number in range(color._MOST_TRANSFORMS + 5):
        color_of(plain("RGB", (1, 2, 3)), icc_profile=rgb_profile(DISPLAY_P3, 1 + number / 256))
    assert len(color._transforms) == color._MOST_TRANSFORMS


@pytest.mark.parametrize("ink", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 128), (100, 50, 20, 60), (0, 0, 0, 0)])
def test_cmyk_without_a_profile_goes_by_formula_in_tiff_and_in_the_inverted_jpeg_of_adobe(
    ink: tuple[int, int, int, int],
) -> None:
    expected = [(255 - value) * (255 - ink[3]) / 255 for value in ink[:3]]
    np.testing.assert_allclose(color_of(plain("CMYK", ink), "TIFF"), expected, atol=1)
    np.testing.assert_allclose(color_of(plain("CMYK", ink), "JPEG", quality=100), expected, atol=3)


INKS = {(1, 0, 0, 0): (60, -35, -45), (0, 1, 0, 0): (50, 70, -5), (0, 1, 1, 0): (47, 60, 40), (0, 0, 0, 1): (15, 0, 0)}


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_with_a_profile_becomes_the_colour_that_the_profile_says(
    kind: str, ink: tuple[int, int, int, int]
) -> None:
    image = plain("CMYK", tuple(255 * value for value in ink))
    options = {"quality": 100} if kind == "JPEG" else {}
    found = color_of(image, kind, icc_profile=cmyk_profile(INKS), **options)
    np.testing.assert_allclose(found, lab_to_srgb(INKS[ink]), atol=5)
    assert np.abs(np.array(found) - color_of(image, kind, **options)).max() > 30


def ycck(ink: tuple[int, int, int, int], **options: object) -> bytes:
    """A JPEG that holds inverted CMY as YCbCr: planes that are made so, and Adobe's marker changed to say so."""
    planes = (*plain("RGB", ink[:3]).convert("YCbCr").getpixel((0, 0)), 255 - ink[3])
    sink = io.BytesIO()
    plain("CMYK", tuple(255 - value for value in planes)).save(sink, "JPEG", quality=100, **options)
    data = sink.getvalue()
    marker = data.index(b"\xff\xee\x00\x0eAdobe")
    assert data[marker + 15] == 0
    return data[: marker + 15] + b"\2" + data[marker + 16 :]


@pytest.mark.parametrize("ink", INKS)
def test_ycck_is_cmyk(ink: tuple[int, int, int, int]) -> None:
    full = tuple(255 * value for value in ink)
    expected = [(255 - value) * (255 - full[3]) / 255 for value in full[:3]]
    np.testing.assert_allclose(middle(ycck(full)), expected, atol=4)
    np.testing.assert_allclose(middle(ycck(full, icc_profile=cmyk_profile(INKS))), lab_to_srgb(INKS[ink]), atol=5)


def test_a_cmyk_jpeg_without_the_marker_of_adobe_is_inverted_too() -> None:
    sink = io.BytesIO()
    plain("CMYK", (0, 200, 100, 0)).save(sink, "JPEG", quality=100)
    data = sink.getvalue()
    marker = data.index(b"\xff\xee\x00\x0eAdobe")
    np.testing.assert_allclose(middle(data[:marker] + data[marker + 16 :]), (255, 55, 155), atol=3)


@pytest.mark.parametrize("lab", [(50, 40, 30), (70, -30, 20), (30, 10, -40)])
def test_lab_becomes_srgb(lab: tuple[int, int, int]) -> None:
    stored = (round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)
    np.testing.assert_allclose(color_of(plain("LAB", stored), "TIFF"), lab_to_srgb(lab), atol=3)


def test_alpha_of_every_mode_lies_over_white() -> None:
    half = [round((value * 128 + 255 * 127) / 255) for value in (200, 60, 30)]
    for kind in ("PNG", "TIFF", "TGA"):
        np.testing.assert_allclose(color_of(plain("RGBA", (200, 60, 30, 128)), kind), half, atol=1)
    np.testing.assert_allclose(color_of(plain("RGBA", (200, 60, 30, 128)), "WEBP", lossless=True), half, atol=1)
    np.testing.assert_allclose(color_of(plain("LA", (40, 64))), [round((40 * 64 + 255 * 191) / 255)] * 3, atol=1)
    for image, key in ((plain("L", 77), 77), (plain("RGB", (1, 2, 3)), (1, 2, 3)), (plain("1", 0), 0)):
        assert color_of(image, transparency=key) == (255, 255, 255)
    assert color_of(plain("L", 77), transparency=78) == (77, 77, 77)


def test_the_transparent_value_of_sixteen_bit_grey_is_white() -> None:
    deep = Image.fromarray(np.full((16, 16), 0x1234, np.uint16))
    assert color_of(deep) == (18, 18, 18)
    assert color_of(deep, transparency=0x1234) == (255, 255, 255)
    assert color_of(deep, transparency=0x1235) == (18, 18, 18)


def test_deep_values_are_scaled_by_their_depth_or_else_their_range() -> None:
    def one(values: list[float], kind: type, bits: int = 16) -> list[int]:
        return to_eight_bits(np.array([values], kind), bits)[0].tolist()

    assert one([0, 257, 0x8080, 65_535], np.uint16) == [0, 1, 128, 255]
    assert one([0, 2_048, 4_095], np.uint16, 12) == [0, 128, 255]
    assert one([0, 0.5, 1], np.float32) == [0, 128, 255]
    assert one([0, 20, 255], np.int32) == [0, 20, 255]
    assert one([0, 25_700], np.int32) == [0, 100]
    assert one([-100, 0, 100], np.int32) == [0, 128, 255]
    assert one([70_000, 70_000], np.int32) == [0, 0]
    assert one([-2, 2, np.inf, -np.inf, np.nan], np.float32) == [0, 255, 255, 0, 0]
    assert one([np.nan, np.nan], np.float32) == [0, 0]
