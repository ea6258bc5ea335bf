"""208 awkward files of other people, beside the project: what becomes of each, and known pixels of some."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from tests.encoders.color_profiles import lab_to_srgb

Pixels = Callable[[str], np.ndarray]
TABLE = Path(__file__).with_name("robust_outcomes.csv")


@pytest.fixture(scope="module")
def robust(shared: Path) -> Path:
    return shared / "data" / "robust"


def outcome(path: Path, least: tuple[int, int] | None) -> tuple[str, str, str]:
    try:
        picture = decode(path.read_bytes(), DecodeLimits(), least)
    except DecodeError as error:
        return str(error.reason), "", ""
    assert picture.image.mode == "RGB"
    return "embedded", str(picture.width), str(picture.height)


@pytest.mark.parametrize("least", [None, (224, 224), (16, 16)])
def test_every_file_has_its_expected_outcome_reduced_or_not(robust: Path, least: tuple[int, int] | None) -> None:
    with TABLE.open(newline="") as file:
        expected = {row["file"]: (row["outcome"], row["width"], row["height"]) for row in csv.DictReader(file)}
    assert len(expected) == 208
    found = {path.name: outcome(path, least) for path in sorted(robust.iterdir()) if path.name != "manifest.csv"}
    differences = {
        name: (found.get(name), expected.get(name))
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    }
    assert differences == {}


def test_the_table_knows_no_outcome_but_an_embedding_and_the_documented_reasons() -> None:
    with TABLE.open(newline="") as file:
        assert {row["outcome"] for row in csv.DictReader(file)} <= {"embedded", *(str(reason) for reason in Reason)}


@pytest.fixture
def pixels(robust: Path) -> Pixels:
    def load(name: str) -> np.ndarray:
        return np.asarray(decode((robust / name).read_bytes(), DecodeLimits()).image).astype(int)

    return load


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photo_stored_in_any_orientation_is_the_same_upright(pixels: Pixels, shape: str, orientation: int) -> None:
    upright = pixels(f"exif_orientation__sharp_{shape}_1.jpg")
    turned = pixels(f"exif_orientation__sharp_{shape}_{orientation}.jpg")
    assert upright.shape == turned.shape
    assert np.abs(upright - turned).mean() < 6
    assert np.abs(upright - turned[::-1]).mean() > 30


@pytest.mark.parametrize(
    ("name", "points"),
    [
        # The flag's official colours.
        (
            "png_16bit__sharp_Flag_of_the_Netherlands-16bit.png",
            {(100, 450): (174, 28, 40), (300, 450): (255, 255, 255), (500, 450): (33, 70, 139)},
        ),
        # The same ones, half transparent over white.
        (
            "palette_transparent__sharp_Flag_of_the_Netherlands-alpha.png",
            {(100, 450): (214, 141, 147), (300, 450): (255, 255, 255), (500, 450): (144, 162, 197)},
        ),
        # Magenta and yellow in full on coated paper, by its FOGRA39 profile: the red of print, not (255, 0, 0).
        ("cmyk__sharp_fogra-0-100-100-0.tif", {(500, 500): (227, 6, 20), (10, 990): (227, 6, 20)}),
        ("lab__Pillow_lab-green.tif", {(5, 5): tuple(lab_to_srgb((128 / 2.55, 28 - 128, 0)))}),
        ("lab__Pillow_lab-red.tif", {(5, 5): tuple(lab_to_srgb((128 / 2.55, 228 - 128, 0)))}),
        ("png_16bit__Pillow_i_trns.png", {(0, 0): (0, 0, 0), (32, 32): (255, 255, 255)}),
        ("palette_transparent__Pillow_p_trns_single.png", {(0, 0): (255, 0, 0), (32, 32): (255, 255, 255)}),
    ],
)
def test_known_colours_come_out(pixels: Pixels, name: str, points: dict[tuple[int, int], tuple[int, ...]]) -> None:
    picture = pixels(name)
    for (row, column), expected in points.items():
        np.testing.assert_allclose(picture[row, column], expected, atol=3)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("cmyk__Pillow_pil_sample_cmyk.jpg", "cmyk__Pillow_tiff_strip_cmyk_jpeg.tif", 0.1),
        ("cmyk__Pillow_pil_sample_cmyk.jpg", "cmyk__Pillow_tiff_tiled_cmyk_jpeg.tif", 0.1),
        ("cmyk__Pillow_pil_sample_cmyk.jpg", "cmyk__Pillow_tiff_strip_cmyk_16l_jpeg.tif", 0.1),
        ("bmp__Pillow_hopper.bmp", "other_format__Pillow_hopper.ppm", 2),
        ("bmp__Pillow_hopper.bmp", "avif__Pillow_hopper-missing-pixi.avif", 2),
        ("bmp__Pillow_hopper.bmp", "lab__Pillow_hopper.Lab.tif", 3),
        ("bmp__Pillow_hopper.bmp", "bmp__Pillow_hopper_rle8.bmp", 5),
        ("wrong_extension__imagededup_ukbench09380.bmp", "wrong_extension__imagededup_ukbench09380.png", 0),
        ("wrong_extension__imagededup_ukbench09380.bmp", "webp__imagededup_ukbench09380.webp", 2),
    ],
)
def test_one_picture_in_two_formats_is_one_picture(pixels: Pixels, one: str, other: str, apart: float) -> None:
    assert np.abs(pixels(one) - pixels(other)).mean() <= apart


def test_a_cmyk_photo_goes_by_its_profile_and_without_one_by_formula(pixels: Pixels, robust: Path) -> None:
    name = "cmyk__sharp_Channel_digital_image_CMYK_color{}.jpg"
    with Image.open(robust / name.format("_no_profile")) as image:
        ink = np.asarray(image).astype(int)
    formula = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255
    assert np.abs(pixels(name.format("_no_profile")) - formula).max() <= 1
    assert 5 < np.abs(pixels(name.format("")) - formula).mean() < 30
