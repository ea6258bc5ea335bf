from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS, UNIT, view_matrix, view_pictures

TRANSPOSED = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "upside_down": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned90": Image.Transpose.ROTATE_270,  # Pillow turns against the clock.
    "turned180": Image.Transpose.ROTATE_180,
    "turned270": Image.Transpose.ROTATE_90,
}


def thumbnails(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 192), np.uint8)


@pytest.mark.parametrize("view", TURNED_VIEWS)
def test_a_turned_view_is_what_pillow_makes_of_the_thumbnail(view: str) -> None:
    for given, made in zip(thumbnails(), view_pictures(thumbnails(), view), strict=True):
        image = Image.fromarray(given.reshape(8, 8, 3)).transpose(TRANSPOSED[view])
        np.testing.assert_array_equal(made.reshape(8, 8, 3), np.asarray(image).astype(float) * UNIT)


@pytest.mark.parametrize("view", [*DEFAULT_VIEWS, *TURNED_VIEWS])
def test_views_are_exact_and_leave_a_picture_of_one_grey_as_it_is(view: str) -> None:
    matrix = view_matrix(view)
    np.testing.assert_array_equal(matrix, np.rint(matrix))
    np.testing.assert_array_equal(view_pictures(np.full((1, 192), 200, np.uint8), view), 200 * UNIT)
    exact = thumbnails().astype(np.int64) @ matrix.astype(np.int64)
    np.testing.assert_array_equal(view_pictures(thumbnails(), view), exact)


def test_full_is_the_thumbnail_and_a_crop_is_its_middle_or_a_corner() -> None:
    np.testing.assert_array_equal(view_pictures(thumbnails(), "full"), thumbnails() * float(UNIT))
    ramp = np.repeat(np.tile(np.arange(8) * 30, 8), 3).astype(np.uint8)[None]
    columns = {view: view_pictures(ramp, view).reshape(8, 8, 3)[0, :, 0] / UNIT for view in DEFAULT_VIEWS}
    # The centres of 8 pixels over the middle 0.7 of 8: from 1.2 - 0.15 to 6.8 - 0.15 less half a pixel.
    np.testing.assert_allclose(columns["crop30"], (1.2 + (np.arange(8) + 0.5) * 0.7 - 0.5) * 30, atol=1)
    inner = (1.2 + (np.arange(8) + 0.5) * 0.85 - 0.5)[:6] * 30
    np.testing.assert_allclose(columns["top_right15"][:6], inner, atol=1)
    assert columns["top_right15"][7] == 210
    np.testing.assert_array_equal(columns["top_left15"], columns["bottom_left15"])
    assert columns["top_left15"][-1] < columns["full"][-1]


def test_a_crop_follows_what_is_curved_between_the_pixels() -> None:
    bowl = np.repeat(np.tile((np.arange(8) - 3.5) ** 2 * 20, 8), 3).astype(np.uint8)[None]
    row = view_pictures(bowl, "crop30").reshape(8, 8, 3)[0, :, 0] / UNIT
    centres = 1.2 + (np.arange(8) + 0.5) * 0.7 - 0.5
    np.testing.assert_allclose(row, (centres - 3.5) ** 2 * 20, atol=2.6)  # A straight line is off by up to 5.


def test_a_grey_view_is_the_luma_in_every_channel() -> None:
    pixels = view_pictures(thumbnails(), "grey").reshape(-1, 3) / UNIT
    luma = thumbnails().reshape(-1, 3) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(pixels, np.repeat(luma[:, None], 3, axis=1), atol=1)


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(ValueError, match="sideways is no view: full, grey"):
        view_matrix("sideways")
