from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.evaluation import ground_truth, recall
from index_builder.evaluation.ground_truth import Neighbours, exact_neighbours
from index_builder.evaluation.recall import Truth, drop_self, interval, mean_share, recall_at
from tests.index_builder.vectors import clustered


def slow_recall_at(found: np.ndarray, exact: np.ndarray, depth: int) -> float:
    shares = []
    for mine, right in zip(found, exact, strict=True):
        wanted = set(right[:depth].tolist()) - {-1}
        if wanted:
            shares.append(len(wanted & set(mine[:depth].tolist())) / len(wanted))
    return float(np.mean(shares)) if shares else 1.0


def slow_share(mine: list[int], exact: list[tuple[int, float]], depth: int, whole: bool) -> float | None:
    """The share of one query, itself left out already: `exact` rows and values, nearest first."""
    if not exact:
        return None
    wanted = min(depth, len(exact))
    last = exact[wanted - 1][1]
    nearer = {row for row, value in exact[:wanted] if value != last}
    equals = {row for row, value in exact if value == last}
    found = set(mine[:depth])
    if not whole and exact[-1][1] == last and len(equals) > 1:
        return len(nearer & found) / len(nearer) if nearer else None
    return (len(nearer & found) + min(len(equals & found), wanted - len(nearer))) / wanted


def padded(rows: list[list[int]], fill: float = -1) -> np.ndarray:
    width = max(len(each) for each in rows)
    return np.array([each + [fill] * (width - len(each)) for each in rows])


@st.composite
def found_and_exact(draw: st.DrawFn) -> tuple[list[list[int]], list[list[tuple[int, float]]], list[int]]:
    """Some queries: what was found, the exact neighbours with many equals among them, and the query's own row."""
    found, exact, own = [], [], []
    for _ in range(draw(st.integers(1, 5))):
        rows = draw(st.permutations(range(14)))
        values = sorted(draw(st.lists(st.integers(0, 4), min_size=0, max_size=12)))
        exact.append([(row, float(value)) for row, value in zip(rows, values, strict=False)])
        found.append(draw(st.permutations(range(14)))[: draw(st.integers(0, 9))])
        own.append(draw(st.integers(0, 15)))
    return found, exact, own


@settings(max_examples=300, deadline=None)
@given(found_and_exact(), st.integers(1, 8), st.integers(4, 20))
def test_recall_of_equals_is_that_of_the_slow_count(
    drawn: tuple[list[list[int]], list[list[tuple[int, float]]], list[int]], k: int, depth: int
) -> None:
    found, exact, own = drawn
    exact = [each[:depth] for each in exact]
    rows, values = padded([[r for r, _ in each] for each in exact]), padded([[v for _, v in each] for each in exact], 9)
    got = padded(found).astype(np.int64)
    if got.shape[1] == 0 or rows.shape[1] == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "DEPTH", depth)
        truth = Truth(Neighbours(rows.astype(np.int64), values), np.array(own), np.zeros((len(own), 2), np.float32))
    shares = truth.shares(Neighbours(got, np.zeros(got.shape, np.float32)), [k])[k]
    width = rows.shape[1] - 1
    for number, share in enumerate(shares.tolist()):
        others = [pair for pair in exact[number] if pair[0] != own[number]][:width]
        mine = [row for row in found[number] if row != own[number]][: got.shape[1] - 1]
        expected = slow_share(mine, others, k, whole=len(exact[number]) < depth)
        assert (None if np.isnan(share) else share) == (None if expected is None else pytest.approx(expected))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_recall_without_equals_is_that_of_the_slow_count(seed: int, depth: int) -> None:
    rng = np.random.default_rng(seed)
    exact = np.array([rng.permutation(15)[:8] for _ in range(6)])
    exact[rng.random(6) < 0.3, rng.integers(0, 8) :] = -1
    found = np.array([rng.permutation(15)[:10] for _ in range(6)])
    assert recall_at(found, exact, (depth,))[str(depth)] == pytest.approx(slow_recall_at(found, exact, depth), abs=1e-6)


def test_recall_is_the_share_of_the_exact_neighbours_found() -> None:
    exact = np.array([[1, 2, 3], [4, 5, -1]])
    found = np.array([[3, 9, 1], [5, 4, 7]])
    assert recall_at(found, exact, (1, 3)) == {"1": 0.0, "3": round((2 / 3 + 1) / 2, 6)}


def test_a_query_does_not_count_as_its_own_neighbour() -> None:
    found = Neighbours(np.array([[7, 1, 2], [1, 2, 3]]), np.array([[0, 5, 6], [5, 6, 7]], np.float32))
    left = drop_self(found, np.array([7, 9]))
    np.testing.assert_array_equal(left.rows, [[1, 2], [1, 2]])
    np.testing.assert_array_equal(left.values, [[5, 6], [5, 6]])


def shares_of(found: list[int], values: list[float], k: int) -> float:
    """Of one query, row 99, whose neighbours are the rows 0, 1, ... with `values`; all there are."""
    truth = Truth(
        Neighbours(np.array([[99, *range(len(values))]]), np.array([[0.0, *values]], np.float32)),
        np.array([99]),
        np.zeros((1, 4), np.float32),
    )
    return float(truth.shares(Neighbours(np.array([found]), np.zeros((1, len(found)), np.float32)), [k])[k][0])


def test_copies_of_the_last_neighbour_stand_for_each_other() -> None:
    assert shares_of([99, 0, 4], [1, 2, 2, 2, 2, 3], 2) == 1.0
    assert shares_of([99, 0, 5], [1, 2, 2, 2, 2, 3], 2) == 0.5


def test_copies_do_not_stand_for_nearer_items() -> None:
    assert shares_of([99, 2, 3, 4], [1, 2, 2, 2], 2) == 0.5


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_copies_that_the_ground_truth_rounds_differently_are_equal(metric: str) -> None:
    vectors = np.repeat(clustered(40, 96), 6, axis=0)[np.random.default_rng(0).permutation(240)]
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    own, rows = np.arange(60), np.arange(240)
    exact = exact_neighbours(vectors[own], vectors, rows, metric)
    noise = np.random.default_rng(1).normal(size=exact.values.shape) * 1e-7 * np.abs(exact.values).max()
    order = np.argsort((exact.values + noise) * (1 if metric == "l2" else -1), axis=1)
    rounded = Neighbours(np.take_along_axis(exact.rows, order, 1), np.take_along_axis(exact.values + noise, order, 1))
    found = exact_neighbours(vectors[own], vectors[::-1], rows[::-1], metric, 9)
    assert np.all(Truth(rounded, own, vectors[own]).shares(found, [2, 8])[8] == 1.0)
    assert recall_at(drop_self(found, own).rows, drop_self(rounded, own).rows, (8,))["8"] < 1.0


def test_a_query_with_more_copies_than_the_ground_truth_is_deep_is_left_out() -> None:
    rows = np.arange(ground_truth.DEPTH)[None]
    copies = Neighbours(rows, np.zeros(rows.shape, np.float32))
    truth = Truth(copies, np.array([0]), np.ones((1, 4), np.float32))
    found = Neighbours(np.arange(200, 211)[None], np.zeros((1, 11), np.float32))
    assert np.isnan(truth.shares(found, [1, 10])[10]).all()
    nearer = Neighbours(rows, np.where(rows < 5, rows, 9).astype(np.float32))
    truth = Truth(nearer, np.array([0]), np.ones((1, 4), np.float32))
    found = Neighbours(np.array([[0, 1, 2, 3, *range(300, 307)]]), np.zeros((1, 11), np.float32))
    assert truth.shares(found, [10])[10][0] == 3 / 4


def test_no_query_is_full_recall_and_says_nothing() -> None:
    assert mean_share(np.array([np.nan])) == 1.0
    assert interval(np.array([np.nan])) == (0.0, 1.0)


def test_the_interval_covers_the_truth_about_19_times_of_20() -> None:
    rng = np.random.default_rng(3)
    covered, widths = 0, []
    for _ in range(300):
        shares = rng.binomial(10, rng.beta(8, 2, 200)) / 10
        low, high = interval(shares)
        covered += low <= 0.8 <= high
        widths.append(high - low)
        assert low <= mean_share(shares) <= high
    assert 0.91 <= covered / 300 <= 0.985
    assert 0.03 < np.mean(widths) < 0.08


def test_the_interval_is_the_same_every_time_and_narrows_with_the_queries() -> None:
    shares = np.random.default_rng(0).random(2_000)
    assert interval(shares) == interval(shares.copy())
    few, many = interval(shares[:100]), interval(shares)
    assert many[1] - many[0] < (few[1] - few[0]) / 2
