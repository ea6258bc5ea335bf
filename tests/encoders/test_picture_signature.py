from __future__ import annotations

import io
import math
from statistics import median

import numpy as np
import pytest
import xxhash
from PIL import Image

from encoders import picture_signature
from encoders.decode import DecodeLimits, Picture, decode
from encoders.picture_signature import phash_256, pixel_hash, signature
from tests.conftest import draw_picture


def slow_phash(image: Image.Image) -> int:
    """The definition, term by term."""
    grey = np.asarray(image.resize((32, 32), Image.Resampling.BOX).convert("L"), float)
    low = [
        sum(
            grey[y, x] * math.cos(math.pi * (2 * y + 1) * v / 64) * math.cos(math.pi * (2 * x + 1) * u / 64)
            for y in range(32)
            for x in range(32)
        )
        for v in range(8)
        for u in range(8)
    ]
    middle = float(np.median(low))
    return sum(1 << (63 - place) for place, value in enumerate(low) if value > middle)


def slow_phash_256(image: Image.Image) -> bytes:
    """The definition, in whole numbers."""
    grey = np.asarray(image.resize((64, 64), Image.Resampling.BOX).convert("L")).tolist()
    wave = [[round(2**14 * math.cos(math.pi * (2 * n + 1) * k / 128)) for n in range(64)] for k in range(16)]
    across = [[sum(wave[u][x] * line[x] for x in range(64)) for u in range(16)] for line in grey]
    low = [sum(wave[v][y] * across[y][u] for y in range(64)) for v in range(16) for u in range(16)]
    return int("".join("1" if value > median(low) else "0" for value in low), 2).to_bytes(32, "big")


def slow_pixel_hash(picture: Picture) -> bytes:
    """The definition, pixel by pixel."""
    image = picture.image
    numbers = [*image.size, picture.width, picture.height]
    pixels = [
        bytes((*image.getpixel((x, y)), 255))  # type: ignore[misc]
        for y in range(image.height)
        for x in range(image.width)
    ]
    return xxhash.xxh3_128(b"".join(number.to_bytes(4, "little") for number in numbers) + b"".join(pixels)).digest()


def hash_of(image: Image.Image, kind: str, least: tuple[int, int] | None = None, **options: object) -> bytes:
    """The pixel hash of an image stored as a file."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return pixel_hash(decode(sink.getvalue(), DecodeLimits(), least))


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return (signature(one)[0] ^ signature(other)[0]).bit_count()


def test_the_hash_is_the_slow_definition() -> None:
    for seed in range(3):
        image = draw_picture(seed, (90, 70))
        assert signature(image)[0] == slow_phash(image)


def test_a_smaller_brighter_copy_is_near_and_another_picture_is_far() -> None:
    image = draw_picture(5, (240, 200))
    copy = image.resize((120, 100)).point(lambda value: min(255, value + 10))
    assert bits_apart(image, copy) <= 6
    assert bits_apart(image, draw_picture(6, (240, 200))) >= 16


def test_the_thumbnail_is_eight_by_eight_rgb() -> None:
    image = Image.new("RGB", (64, 64), (10, 20, 30))
    assert signature(image)[1] == bytes([10, 20, 30]) * 64


@pytest.mark.parametrize("size", [(224, 224), (240, 200), (48, 40), (1, 1), (64, 30)])
def test_the_long_hash_is_the_slow_definition_also_of_images_that_are_smaller(size: tuple[int, int]) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        for image in (
            draw_picture(seed, (240, 200)).resize(size),
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)),
        ):
            assert phash_256(image) == slow_phash_256(image)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_the_long_hash_of_one_colour_is_one_bit_and_none_for_black(value: int) -> None:
    flat = phash_256(Image.new("RGB", (224, 224), (value, value, value)))
    assert int.from_bytes(flat, "big") == (1 << 255 if value else 0)


def test_the_long_hash_of_a_smaller_brighter_copy_is_near_and_that_of_another_picture_is_far() -> None:
    def apart(one: Image.Image, other: Image.Image) -> int:
        return (int.from_bytes(phash_256(one), "big") ^ int.from_bytes(phash_256(other), "big")).bit_count()

    image = draw_picture(5, (240, 200))
    assert apart(image, image.resize((120, 100)).point(lambda value: min(255, value + 10))) <= 24
    assert apart(image, draw_picture(6, (240, 200))) >= 64


def test_the_pixel_hash_is_the_slow_definition_however_the_picture_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_picture(3, (61, 47))
    picture = Picture(image, 610, 470)
    expected = slow_pixel_hash(picture)
    assert pixel_hash(picture) == expected
    for pixels_at_once in (1, 62, 61 * 46, 61 * 47 - 1):
        monkeypatch.setattr(picture_signature, "_PIXELS_AT_ONCE", pixels_at_once)
        assert pixel_hash(picture) == expected
    fourth_byte = np.random.default_rng(0).integers(0, 256, (47, 61, 1), np.uint8)
    held = np.concatenate([np.asarray(image), fourth_byte], axis=2).tobytes()
    assert pixel_hash(Picture(Image.frombytes("RGB", image.size, held, "raw", "RGBX"), 610, 470)) == expected


@pytest.mark.parametrize("size", [(700, 500), (2000, 60)])  # Of 16 MB and more by default; rows longer than a block.
@pytest.mark.parametrize("copied", [1, 3000, 1 << 20])
def test_the_pixel_hash_does_not_depend_on_the_blocks_of_pillows_memory(
    size: tuple[int, int], copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_signature, "_PIXELS_IN_A_COPY", copied)
    large = draw_picture(4, size)
    usual = Image.core.get_block_size()
    try:
        Image.core.set_block_size(1 << 12)
        pieces = large.transpose(Image.Transpose.ROTATE_180).transpose(Image.Transpose.ROTATE_180)
        with pytest.raises(ValueError, match="multiple"):
            pieces.__arrow_c_array__()
        found = pixel_hash(Picture(pieces, *size))
    finally:
        Image.core.set_block_size(usual)
    assert found == pixel_hash(Picture(large, *size))


def test_files_of_the_same_pixels_have_one_pixel_hash_and_others_have_another() -> None:
    image = draw_picture(7, (90, 70))
    exif = Image.Exif()
    exif[0x010E] = "another description"
    expected = hash_of(image, "PNG", compress_level=1)
    assert hash_of(image, "PNG", compress_level=9) == expected
    assert hash_of(image, "BMP") == hash_of(image, "TIFF", compression="tiff_lzw") == expected
    assert hash_of(image, "WEBP", lossless=True) == hash_of(image.convert("RGBA"), "PNG") == expected
    assert hash_of(image, "JPEG") == hash_of(image, "JPEG", exif=exif) != expected
    other = image.copy()
    red, green, blue = other.getpixel((89, 69))  # type: ignore[misc]
    other.putpixel((89, 69), (red, green, blue ^ 1))
    assert hash_of(other, "PNG") != expected
    assert hash_of(image.transpose(Image.Transpose.ROTATE_180), "PNG") != expected


@pytest.mark.parametrize(
    ("orientation", "stored_as"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (5, Image.Transpose.TRANSPOSE),
    ],
)
def test_a_picture_that_is_upright_by_its_orientation_has_the_pixel_hash_of_one_whose_pixels_are(
    orientation: int, stored_as: Image.Transpose
) -> None:
    image = draw_picture(8, (90, 70))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert hash_of(image.transpose(stored_as), "PNG", exif=exif) == hash_of(image, "PNG")


def test_pictures_of_one_colour_differ_by_their_sides_and_by_those_of_their_originals() -> None:
    sizes = [(60, 40), (40, 60), (30, 80), (2400, 1)]
    hashes = {pixel_hash(Picture(Image.new("RGB", size), width, 8)) for size in sizes for width in (8, 9)}
    assert len(hashes) == 8
    reduced, whole = (hash_of(Image.new("RGB", (1200, 900)), "JPEG", least) for least in ((100, 100), None))
    assert reduced != whole
