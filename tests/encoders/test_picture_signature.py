from __future__ import annotations

import math

import numpy as np
from PIL import Image

from encoders.picture_signature import signature
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
