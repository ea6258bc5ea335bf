"""Which tier takes a pair, and what a report's bounds can be changed to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from catalog.errors import UsageError
from dedupe.settings import BYTES, EMBEDDING, PHASH, PIXELS, THUMBNAIL, Found, Settings, accept

NAN = float("nan")


def found(*rows: tuple[int, int, int, float, float]) -> Found:
    exact, hamming, hamming_256, thumbnail, combined = zip(*rows, strict=True)
    return Found(
        np.array(exact), np.array(hamming), np.array(hamming_256), np.array(thumbnail, "f4"), np.array(combined, "f4")
    )


def test_the_cheapest_tier_that_accepts_a_pair_takes_it() -> None:
    pairs = found(
        (BYTES, 0, 0, 1, 1),
        (PIXELS, 0, 0, 1, 1),
        (-1, 2, -1, 0.99, 0.99),
        (-1, -1, -1, 0.95, 0.9),
        (-1, -1, -1, 0.5, 0.8),
        (-1, -1, -1, 0.5, 0.5),
        (-1, -1, -1, NAN, NAN),
    )
    tier, score = accept(pairs, Settings(threshold=0.8, thumbnail_threshold=0.9))
    assert tier.tolist() == [BYTES, PIXELS, PHASH, THUMBNAIL, EMBEDDING, -1, -1]
    np.testing.assert_allclose(score, [1, 1, 1 - 2 / 64, 0.95, 0.8, 0, 0])


def test_a_tier_that_is_left_out_takes_nothing() -> None:
    pairs = found((BYTES, 0, 0, 1, 1), (-1, 0, 0, 0.95, 0.9))
    assert accept(pairs, Settings(tiers=("embedding",)))[0].tolist() == [EMBEDDING, EMBEDDING]
    assert accept(pairs, Settings(tiers=("pixels",)))[0].tolist() == [-1, -1]


def test_the_longer_hash_contradicts_the_shorter_one() -> None:
    pairs = found((-1, 0, 30, NAN, NAN), (-1, 0, 20, NAN, NAN), (-1, 5, 0, NAN, NAN), (-1, 4, -1, NAN, NAN))
    assert accept(pairs, Settings(phash_radius=4, phash_256_radius=24))[0].tolist() == [-1, PHASH, -1, PHASH]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tiers": ("bytes", "smell")}, "--tiers bytes,smell"),
        ({"tiers": ()}, "--tiers"),
        ({"threshold": 0.0}, "--threshold 0"),
        ({"thumbnail_threshold": 1.5}, "--thumbnail-threshold 1.5"),
        ({"phash_radius": 9}, "--phash-radius 9"),
        ({"phash_256_radius": 65}, "--phash-256-radius 65"),
    ],
)
def test_settings_that_make_no_sense_are_named(wrong: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**wrong)


def test_bounds_can_be_raised_and_not_lowered() -> None:
    made = Settings(threshold=0.8, thumbnail_threshold=0.9, phash_radius=4)
    raised = made.raised(threshold=0.85, radius=2)
    assert (raised.threshold, raised.thumbnail_threshold, raised.phash_radius) == (0.85, 0.9, 2)
    for looser in ({"threshold": 0.79}, {"thumbnail_threshold": 0.8}, {"radius": 5}):
        with pytest.raises(UsageError, match="run catalog-indexer dedupe with it"):
            made.raised(**looser)


def test_settings_come_back_from_json_as_they_were() -> None:
    made = Settings(protected_values=(("vendor", ("a", "b")),), ignored=(("x", "y"),), splits="train=0.5,test=0.5")
    assert Settings.from_json(json.loads(json.dumps(made.to_json()))) == made
