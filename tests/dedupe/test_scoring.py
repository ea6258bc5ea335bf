from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.scoring import MOST_DIMENSIONS, Scoring, products, squares, to_int8


def described(count: int, dimensions: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (count, dimensions)).astype(np.int8)


def slow_scores(scoring: Scoring, one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    cosines = []
    for a, b in zip(scoring.parts(one.astype(int)), scoring.parts(other.astype(int)), strict=True):
        length = float(a @ a) * float(b @ b)
        cosines.append(float(a @ b) / np.sqrt(length) if length else 0.0)
    return cosines[0], scoring.weight * cosines[0] + (1 - scoring.weight) * cosines[1]


@pytest.mark.parametrize("scoring", [Scoring(6, 10, 0.7), Scoring(16, 0, 1.0), Scoring(0, 16, 0.0)])
def test_scores_are_cosines_of_the_parts_however_they_are_asked_for(scoring: Scoring) -> None:
    query, base = described(9, 16, 1), described(7, 16, 2)
    query[0] = 0
    query[1, : scoring.thumbnail_dimensions] = 0
    thumbnail, combined = scoring.scores(query, base)
    expected = np.array([[slow_scores(scoring, a, b) for b in base] for a in query])
    np.testing.assert_allclose(thumbnail, expected[..., 0], atol=1e-6)
    np.testing.assert_allclose(combined, expected[..., 1], atol=1e-6)
    at, to = np.divmod(np.arange(63), 7)
    squares_ = scoring.squares(query)[:, at], scoring.squares(base)[:, to]
    pairs = scoring.pair_scores(query[at], squares_[0], base[to], squares_[1])
    for whole, pair in zip((thumbnail, combined), pairs, strict=True):
        np.testing.assert_array_equal(pair, whole.ravel())


def test_the_largest_products_are_exact() -> None:
    most = np.full((1, MOST_DIMENSIONS), 127, np.int8)
    assert products(most, -most)[0, 0] == -(127**2) * MOST_DIMENSIONS
    assert squares(most)[0] == 127**2 * MOST_DIMENSIONS
    assert 127**2 * MOST_DIMENSIONS <= 2**24


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_joint_vector_says_nearly_what_the_combination_says(seed: int) -> None:
    scoring = Scoring(96, 256, 0.7)
    rows = described(30, 352, seed)
    joint = scoring.joint(rows).astype(float)
    joint /= np.linalg.norm(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(joint @ joint.T, scoring.scores(rows, rows)[1], atol=0.01)


def test_a_row_is_scaled_to_the_whole_of_int8_and_zeros_stay() -> None:
    rows = np.array([[0.5, -1.0, 0.25], [0, 0, 0], [1e-30, 0, -1e-30]])
    np.testing.assert_array_equal(to_int8(rows), [[64, -127, 32], [0, 0, 0], [127, 0, -127]])
