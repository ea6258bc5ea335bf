from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from catalog.errors import UsageError
from dedupe.edits import EDITS, TURNS, edit, edits_named
from tests.conftest import draw_picture

ALL = (*EDITS, *TURNS)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    image.load()
    return image


@pytest.mark.parametrize("name", ALL)
def test_an_edit_is_a_jpeg_that_is_the_same_every_time_and_leaves_the_picture_alone(name: str) -> None:
    picture = draw_picture(3, (120, 90))
    before = picture.tobytes()
    data = edit(picture, name)
    assert opened(data).mode == "RGB"
    assert edit(picture, name) == data
    assert picture.tobytes() == before


def test_no_two_edits_are_the_same() -> None:
    picture = draw_picture(3, (120, 90))
    assert len({edit(picture, name) for name in ALL}) == len(ALL)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (9, 7)])
@pytest.mark.parametrize("name", ALL)
def test_tiny_and_narrow_pictures_have_edits_too(name: str, size: tuple[int, int]) -> None:
    assert min(opened(edit(Image.new("RGB", size, (9, 200, 40)), name)).size) >= 1


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("jpeg30", (200, 100)),
        ("resize50", (100, 50)),
        ("resize25", (50, 25)),
        ("crop10", (180, 90)),
        ("crop20", (160, 80)),
        ("crop30", (140, 70)),
        ("corner15", (170, 85)),
        ("border", (220, 120)),
        ("square", (100, 100)),
        ("rotate5", (200, 100)),
        ("flip", (200, 100)),
        ("rotate90", (100, 200)),
        ("rotate180", (200, 100)),
    ],
)
def test_an_edit_has_the_size_that_its_name_says(name: str, size: tuple[int, int]) -> None:
    assert opened(edit(Image.new("RGB", (200, 100)), name)).size == size


def test_crops_keep_the_middle_and_the_corner_crop_its_corner() -> None:
    picture = Image.new("RGB", (200, 100), (250, 250, 250))
    picture.paste((0, 0, 0), (0, 0, 20, 10))  # In the upper left corner, which crop20 takes away.
    assert np.asarray(opened(edit(picture, "crop20"))).min() > 200
    assert np.asarray(opened(edit(picture, "corner15")))[2, 2].max() < 50


def test_grey_is_grey_and_turns_turn() -> None:
    picture = draw_picture(5, (60, 40))
    grey = np.asarray(opened(edit(picture, "grey"))).astype(int)
    assert np.ptp(grey, axis=2).max() <= 2
    pixels = np.asarray(picture).astype(int)
    for name, turned in (
        ("flip", pixels[:, ::-1]),
        ("flop", pixels[::-1]),
        ("rotate90", np.rot90(pixels)),
        ("rotate180", np.rot90(pixels, 2)),
        ("rotate270", np.rot90(pixels, 3)),
    ):
        assert np.abs(np.asarray(opened(edit(picture, name))).astype(int) - turned).mean() < 12, name


def test_edits_are_asked_for_by_name() -> None:
    assert edits_named("default") == tuple(EDITS)
    assert edits_named("default", turned=True) == ALL
    assert edits_named("all") == ALL
    assert edits_named(" crop10, jpeg30,crop10") == ("crop10", "jpeg30")
    assert edits_named("flip", turned=True) == ("flip",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop11", "--edits crop11 is unknown; expected default, all, or some of jpeg30, "),
        ("flip", "--edits flip is found with mirrored and turned views only; give --flips with it"),
        (",", "--edits names none; expected default, all, or some of jpeg30, "),
    ],
)
def test_a_wrong_edit_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        edits_named(text)
    assert str(refused.value).startswith(message)
