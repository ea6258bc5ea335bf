"""A JPEG that came reduced is the same picture: to the eye of an encoder, and in size, orientation and colour."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.decode import DecodeLimits, Picture, decode
from encoders.image_loader import resize
from encoders.picture_signature import signature
from encoders.registry import load_encoder
from tests.encoders.color_profiles import DISPLAY_P3, cmyk_profile, lab_to_srgb, rgb_profile

LIMITS = DecodeLimits()
INKS = {(1, 0, 0, 0): (60, -35, -45), (0, 1, 0, 0): (50, 70, -5), (0, 0, 0, 1): (15, 0, 0)}


def photo(size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    """Smooth noise, brighter towards the top left corner."""
    rng = np.random.default_rng(3)
    width, height = size
    base = Image.fromarray(rng.integers(0, 120, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    corner = np.linspace(130, 0, width)[None, :, None] * np.linspace(1, 0, height)[:, None, None]
    sink = io.BytesIO()
    Image.fromarray((np.asarray(base) + corner).astype(np.uint8)).convert(mode).save(sink, "JPEG", **options)
    return sink.getvalue()


def both(data: bytes, least: tuple[int, int]) -> tuple[Picture, Picture]:
    """Decoded in full, and for `least`; the same sizes are said of both."""
    full, reduced = decode(data, LIMITS), decode(data, LIMITS, least)
    assert (full.width, full.height) == full.image.size == (reduced.width, reduced.height)
    assert full.image.mode == reduced.image.mode == "RGB"
    return full, reduced


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(resize(one, (60, 80)), int) - np.asarray(resize(other, (60, 80)))).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_reduced_by_its_upright_sides(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # 3 x 2 as stored. Upright, twice 100 x 150 allows a half of one and a quarter of the other.
    full, reduced = both(photo((1_200, 800), exif=exif), (100, 150))
    turned = orientation >= 5
    assert full.image.size == ((800, 1_200) if turned else (1_200, 800))
    assert reduced.image.size == ((400, 600) if turned else (300, 200))
    assert difference(full.image, reduced.image) < 1


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [
        ((800, 600), (300, 400), (800, 600)),  # Twice as large is just enough for no reduction.
        ((1_601, 1_201), (300, 400), (801, 601)),
        ((3_200, 2_400), (150, 200), (400, 300)),
        ((3_200, 60), (10, 10), (3_200, 60)),  # The short side decides, and the hash wants 64.
        ((3_200, 128), (10, 10), (1_600, 64)),
        ((40, 30), (300, 400), (40, 30)),
        ((1, 1), (224, 224), (1, 1)),
    ],
)
def test_a_reduced_photo_stays_twice_as_large_as_needed_and_none_is_enlarged(
    size: tuple[int, int], least: tuple[int, int], expected: tuple[int, int]
) -> None:
    full, reduced = both(photo(size), least)
    assert reduced.image.size == expected
    assert difference(full.image, reduced.image) < 1


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"mode": "L"},
        {"subsampling": 0},
        {"mode": "CMYK"},
        {"icc_profile": rgb_profile(DISPLAY_P3)},
        {"mode": "CMYK", "icc_profile": cmyk_profile(INKS)},
        {"mode": "L", "progressive": True},
    ],
    ids=["progressive", "grey", "4:4:4", "cmyk", "display p3", "cmyk with profile", "progressive grey"],
)
def test_every_kind_of_jpeg_keeps_its_colours(options: dict) -> None:
    full, reduced = both(photo((1_000, 800), **options), (100, 100))
    assert reduced.image.size == (250, 200)
    assert difference(full.image, reduced.image) < 1


def test_a_reduced_cmyk_jpeg_goes_by_its_profile() -> None:
    sink = io.BytesIO()
    Image.new("CMYK", (800, 800), (255, 0, 0, 0)).save(sink, "JPEG", quality=100, icc_profile=cmyk_profile(INKS))
    image = decode(sink.getvalue(), LIMITS, (50, 50)).image
    assert image.size == (100, 100)
    np.testing.assert_allclose(image.getpixel((50, 50)), lab_to_srgb(INKS[1, 0, 0, 0]), atol=5)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_formats_are_never_reduced(kind: str) -> None:
    sink = io.BytesIO()
    Image.open(io.BytesIO(photo((600, 400)))).save(sink, kind)
    _, reduced = both(sink.getvalue(), (20, 20))
    assert reduced.image.size == (600, 400)


def test_vectors_and_hashes_of_real_photos_do_not_notice(shared: Path) -> None:
    encoder = load_encoder(f"savedmodel:{shared}/models/mobilenet_v2_100_224")
    least = encoder.info.input_size
    data = shared / "data"
    sample = [path for place in ("grocery", "clothing") for path in sorted((data / place).rglob("*.jpg"))[::30]]
    sample += [path for path in sorted((data / "neardup").rglob("*.jpg")) if "corrupt" not in path.name]
    pairs = [both(path.read_bytes(), least) for path in sample]
    full, reduced = (
        encoder.encode(np.stack([np.asarray(resize(pair[way].image, least)) for pair in pairs])).astype(np.float64)
        for way in (0, 1)
    )
    cosines = (full * reduced).sum(axis=1)
    smaller = np.array([one.image.size != other.image.size for one, other in pairs])
    assert smaller.sum() >= 10
    assert cosines.mean() >= 0.999
    assert cosines[smaller].mean() >= 0.999
    assert cosines.min() >= 0.99
    hashes = [[signature(resize(picture.image, least))[0] for picture in pair] for pair in pairs]
    apart = [(one ^ other).bit_count() for one, other in hashes]
    assert np.mean(apart) <= 0.01
    assert max(apart) <= 2
