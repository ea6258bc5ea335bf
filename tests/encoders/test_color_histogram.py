from __future__ import annotations

import colorsys

import numpy as np
import pytest

from catalog.errors import UsageError
from encoders.color_histogram import ColorHistogramEncoder
from encoders.registry import load_encoder
from tests.conftest import draw_picture


def slow_rgb_histogram(pixels: np.ndarray, bins: tuple[int, int, int]) -> np.ndarray:
    counts = np.zeros(bins)
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        counts[red * bins[0] // 256, green * bins[1] // 256, blue * bins[2] // 256] += 1
    return counts.reshape(-1) / counts.sum()


def test_the_rgb_histogram_counts_pixels_in_a_joint_grid() -> None:
    encoder = ColorHistogramEncoder("rgb", (4, 3, 2))
    images = np.stack([np.asarray(draw_picture(seed, (128, 128))) for seed in range(3)])
    expected = [slow_rgb_histogram(image, (4, 3, 2)) for image in images]
    np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-6)


def test_the_hsv_histogram_puts_a_colour_in_the_cell_of_its_hue_saturation_and_value() -> None:
    encoder = ColorHistogramEncoder("hsv", (16, 4, 4))
    color = (30, 200, 90)
    vector = encoder.encode(np.full((1, 128, 128, 3), color, np.uint8))[0].reshape(16, 4, 4)
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    assert vector[int(hue * 16), int(saturation * 4), int(value * 4)] == 1


def test_greys_have_no_hue() -> None:
    encoder = ColorHistogramEncoder("hsv")
    tints = np.stack([np.full((128, 128, 3), color, np.uint8) for color in ((250, 250, 244), (244, 250, 250))])
    one, other = encoder.encode(tints)
    np.testing.assert_array_equal(one, other)


def test_vectors_sum_to_one_and_the_encoder_says_what_it_is() -> None:
    encoder = load_encoder("color-histogram")
    vectors = encoder.encode(np.stack([np.asarray(draw_picture(seed, (128, 128))) for seed in range(2)]))
    np.testing.assert_allclose(vectors.sum(axis=1), 1, atol=1e-5)
    info = encoder.info
    assert (info.dimension, info.input_size, info.metric, info.normalized) == (256, (128, 128), "l2", False)
    assert len(info.fingerprint) == 64


def test_the_spec_chooses_space_and_bins_and_another_one_has_another_fingerprint() -> None:
    one, other = load_encoder("color-histogram:rgb:4x4x4"), load_encoder("color-histogram:hsv:4x4x4")
    assert one.info.dimension == other.info.dimension == 64
    assert one.info.fingerprint != other.info.fingerprint
    assert load_encoder(one.info.spec).info == one.info


@pytest.mark.parametrize(
    "spec", ["color-histogram:lab", "color-histogram:rgb:4x4", "color-histogram:rgb:axbxc", "nosuch"]
)
def test_an_unknown_spec_is_answered_with_the_known_ones(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"--encoder {spec} is unknown; expected .*color-histogram"):
        load_encoder(spec)
