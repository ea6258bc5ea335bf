from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.views import BYTES
from dedupe.whitening import Prior, Whitening, embedding_prior, rounded, thumbnail_prior


def drawn(count: int, dimension: int, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(count, dimension)) @ draw.normal(size=(dimension, dimension)) + 3).astype(np.float32)


def test_a_large_sample_outweighs_the_prior_and_comes_out_white() -> None:
    sample = drawn(20_000, 8)
    white = Whitening.fit(sample, 4, embedding_prior(sample)).project(rounded(sample, axis=1))
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=0.05)


def test_without_a_sample_there_is_the_prior() -> None:
    prior = Prior(np.array([1.0, 2.0]), np.diag([4.0, 9.0]), 1.0, 1.0)
    whitening = Whitening.fit(np.zeros((0, 2), np.float32), 2, prior)
    np.testing.assert_allclose(whitening.mean, [1, 2])
    np.testing.assert_allclose(whitening.matrix, [[0, 0.5], [1 / 3, 0]], rtol=3e-3)


def test_the_order_of_the_sample_hardly_matters_and_signs_are_settled() -> None:
    sample = drawn(500, 12)
    one, other = (Whitening.fit(each, 12, embedding_prior(each)) for each in (sample, sample[::-1]))
    np.testing.assert_allclose(one.matrix, other.matrix, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_however_rows_are_cut_their_projection_is_the_same_to_the_bit(seed: int, cut: int) -> None:
    sample = drawn(60, 300, 5)
    whitening = Whitening.fit(sample, 40, embedding_prior(sample))
    rows = rounded(
        drawn(80, 300, seed) * np.float32(10.0) ** np.arange(-40, 40)[:, None].astype(np.float32) / 4, axis=1
    )
    whole = whitening.project(rows)
    parts = [whitening.project(rows[start : start + cut]) for start in range(0, 80, cut)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    # Summed from the last dimension to the first, too.
    turned = Whitening(whitening.mean[::-1].copy(), whitening.matrix[::-1].copy())
    np.testing.assert_array_equal(turned.project(rows[:, ::-1].copy()), whole)


def test_of_pictures_large_shapes_vary_more_than_small_ones_and_light_more_than_colour() -> None:
    prior = thumbnail_prior()
    assert prior.covariance.shape == (BYTES, BYTES)
    assert np.linalg.eigvalsh(prior.covariance).min() > 0
    x = np.arange(8)

    def variance(space: np.ndarray, colour: list[float]) -> float:
        pattern = np.kron(np.tile(space, (8, 1)).ravel(), colour)
        pattern /= np.linalg.norm(pattern)
        return float(pattern @ prior.covariance @ pattern)

    large, small = np.cos(np.pi * (x + 0.5) / 8), np.cos(np.pi * (x + 0.5) * 7 / 8)
    assert variance(large, [1, 1, 1]) > 10 * variance(small, [1, 1, 1])
    np.testing.assert_allclose(variance(large, [1, 1, 1]) / variance(large, [1, -1, 0]), 10)


def test_rounding_keeps_twenty_bits_of_the_largest() -> None:
    values = np.random.default_rng(1).normal(size=(5, 50)) * [[1e-30], [1e-3], [1], [1e5], [0]]
    near = rounded(values, axis=1)
    largest = np.abs(values).max(axis=1, keepdims=True)
    assert (np.abs(near - values) <= largest * 2.0**-20).all()
    np.testing.assert_array_equal(rounded(near, axis=1), near)
