from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.operating_points import (
    Catalog,
    Found,
    OperatingPoints,
    curve,
    likely_false_rates,
    most_false_rates,
    precision_of,
    recall_table,
)
from dedupe.unrelated import THRESHOLDS, Unrelated, steps

SIZE = len(THRESHOLDS)
scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60)


def reached_by(values: np.ndarray) -> np.ndarray:
    """The slow way: how many values reach each threshold."""
    return np.array([int((values >= threshold - 5e-6).sum()) for threshold in THRESHOLDS])


def unrelated(thumbnail: np.ndarray, combined: np.ndarray, pairs: int) -> Unrelated:
    return Unrelated(100, pairs, reached_by(thumbnail), reached_by(combined), {}, ())


def drawn(seed: int, count: int = 300) -> tuple[Found, Unrelated]:
    """Edits between 0.5 and 1, and ten thousand pairs that fall off exponentially from 0.3 on."""
    draw = np.random.default_rng(seed)
    found = Found(*(np.float32(1 - 0.5 * draw.random(count) ** 2) for _ in range(2)))
    pairs = [np.minimum(0.3 + draw.exponential(0.05, 10_000), 1) for _ in range(2)]
    return found, unrelated(*pairs, 50_000)


@given(scores)
def test_the_steps_of_a_score_are_the_thresholds_that_it_reaches(values: list[float]) -> None:
    array = np.array(values, np.float32)
    expected = [(np.float64(each) >= THRESHOLDS - 5e-6).sum() for each in array]
    assert steps(array).tolist() == expected
    assert steps(THRESHOLDS.astype(np.float32)).tolist() == list(range(1, SIZE + 1))


@given(scores, st.randoms())
@settings(max_examples=30)
def test_recall_counts_what_reaches_either_threshold(values: list[float], random: st.randoms) -> None:
    thumbnail = np.array(values, np.float32)
    combined = np.array([random.uniform(-1, 1) for _ in values], np.float32)
    table = recall_table(Found(thumbnail, combined))
    for i, j in [(0, 0), (0, SIZE - 1), (SIZE - 1, 0), (40, 80), (77, 13), (SIZE - 1, SIZE - 1)]:
        either = (steps(thumbnail) > i) | (steps(combined) > j)
        assert table[i, j] == pytest.approx(either.mean())


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 3_000)), max_size=20), st.integers(1, 10))
@settings(max_examples=200)
def test_rates_fall_and_are_never_below_what_was_seen(scored: list[tuple[int, int]], factor: int) -> None:
    reached = np.zeros(SIZE, np.int64)
    for place, count in scored:
        reached[: place + 1] += count
    pairs = int(reached[0]) * factor + 1
    most, likely = most_false_rates(reached, pairs), likely_false_rates(reached, pairs)
    for rates in (most, likely):
        assert (np.diff(rates) <= 1e-15).all()
        assert (rates >= 0).all()
        assert rates[-1] == 0
    assert (most[:-1] >= reached[:-1] / pairs - 1e-15).all()
    assert (likely <= most + 1e-15).all()


def test_the_tail_of_a_sample_tells_the_rate_of_a_hundred_times_as_many_pairs() -> None:
    draw = np.random.default_rng(1)
    few, many = (np.minimum(0.3 + draw.exponential(0.05, count), 1) for count in (20_000, 2_000_000))
    truth = reached_by(many) / len(many)
    seen = (truth > 0.7e-5) & (THRESHOLDS < 1)  # Below that not even two million pairs say much.
    assert (reached_by(few)[seen] == 0).any()
    for rates in (most_false_rates(reached_by(few), 20_000), likely_false_rates(reached_by(few), 20_000)):
        assert (np.abs(np.log(rates[seen] / truth[seen])) < np.log(4)).all()


def test_a_few_duplicates_among_the_unrelated_raise_one_rate_and_not_the_other() -> None:
    draw = np.random.default_rng(2)
    pairs = np.minimum(0.3 + draw.exponential(0.05, 20_000), 1)
    clean, mixed = reached_by(pairs), reached_by(np.concatenate([pairs, np.full(8, 0.95)]))
    at = int(steps(np.array([0.9]))[0]) - 1
    assert most_false_rates(mixed, 20_000)[at] >= 8 / 20_000
    assert likely_false_rates(mixed, 20_000)[at] < 2 * likely_false_rates(clean, 20_000)[at] < 1 / 20_000


def test_precision_is_of_what_is_reported_for_a_picture() -> None:
    catalog = Catalog(vectors=1_001, copies=2)
    # 2 copies, half of them found; 1,000 others, of which one in a thousand is reported as well.
    assert precision_of(np.array([0.5]), np.array([1e-3]), catalog) == pytest.approx([0.5])
    assert precision_of(np.array([0.0, 0.0]), np.array([0.0, 1e-3]), catalog).tolist() == [1, 0]


@pytest.mark.parametrize("precision", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_point_is_the_best_of_all(seed: int, precision: float) -> None:
    found, pairs = drawn(seed)
    points = OperatingPoints(found, pairs, Catalog(300, 1.0))
    best = points.best(precision)
    assert best is not None
    assert best.least_precision >= precision
    table = recall_table(found)
    rates = most_false_rates(pairs.thumbnail, pairs.pairs)[:, None] + most_false_rates(pairs.combined, pairs.pairs)
    good = table / (table + rates * 299) >= precision
    assert best.recall == pytest.approx(table[good].max(), abs=1e-5)
    either = (found.thumbnail >= np.float32(best.thumbnail_threshold)) | (found.combined >= np.float32(best.threshold))
    assert best.recall == pytest.approx(either.mean(), abs=1e-5)


def test_more_precision_costs_recall_and_raises_no_rate() -> None:
    found, pairs = drawn(4)
    points = OperatingPoints(found, pairs, Catalog(2_000, 1.0))
    chosen = [points.best(precision) for precision in (0.5, 0.8, 0.9, 0.98)]
    for lower, higher in itertools.pairwise(chosen):
        assert lower is not None
        assert higher is not None
        assert higher.recall <= lower.recall
        assert higher.most_false_pairs <= lower.most_false_pairs


def test_a_larger_catalog_and_fewer_copies_ask_for_higher_thresholds() -> None:
    found, pairs = drawn(5)

    def recall(vectors: int, copies: float) -> float:
        best = OperatingPoints(found, pairs, Catalog(vectors, copies)).best(0.95)
        return best.recall if best else 0

    assert recall(300, 1.0) > recall(30_000, 1.0) > recall(3_000_000, 1.0)
    assert recall(30_000, 1.0) > recall(30_000, 0.01)


def test_where_only_doubtful_pairs_are_in_the_way_the_point_says_so() -> None:
    found, clean = drawn(6)
    doubtful = Unrelated(100, clean.pairs, clean.thumbnail + 40, clean.combined + 40, {}, ())
    points = OperatingPoints(found, doubtful, Catalog(300, 1.0))
    best = points.best(0.99)
    assert best is not None
    assert best.precision >= 0.99 > best.least_precision
    assert best.false_pairs < best.most_false_pairs


@pytest.mark.parametrize(("alike", "careful"), [(0.6, True), (0.2, False)])
def test_doubtful_pairs_count_unless_that_costs_most_of_the_edits(alike: float, careful: bool) -> None:
    """Some edits are more alike than the doubtful pairs, the others less."""
    score = np.where(np.arange(100) < 100 * alike, 0.97, 0.85).astype(np.float32)
    found, clean = Found(score, score), drawn(6)[1]
    more = np.where(THRESHOLDS <= 0.86, 9, 0)
    doubtful = Unrelated(100, clean.pairs, clean.thumbnail + more, clean.combined + more, {}, ())
    best = OperatingPoints(found, doubtful, Catalog(300, 1.0)).best(0.98)
    assert best is not None
    assert best.recall == pytest.approx(alike if careful else 1)
    assert (best.least_precision >= 0.98) == careful


def test_finding_only_what_is_the_very_same_to_the_measure_is_no_point() -> None:
    found = Found(np.ones(50, np.float32), np.ones(50, np.float32))
    pairs = unrelated(np.full(1_000, 0.996), np.full(1_000, 0.996), 1_000)
    assert OperatingPoints(found, pairs, Catalog(1_000, 1.0)).best(0.5) is None


def test_no_point_where_unrelated_pictures_are_as_alike_as_edits() -> None:
    found = Found(np.full(50, 0.7, np.float32), np.full(50, 0.7, np.float32))
    pairs = unrelated(np.full(1_000, 0.9), np.full(1_000, 0.9), 1_000)
    points = OperatingPoints(found, pairs, Catalog(1_000, 1.0))
    assert points.best(0.5) is None
    assert points.highest_precision() < 0.01


def test_any_two_thresholds_are_the_next_lower_ones() -> None:
    found, pairs = drawn(7)
    points = OperatingPoints(found, pairs, Catalog(300, 1.0))
    assert (points.at(0.7349, 0.81).threshold, points.at(0.7349, 0.81).thumbnail_threshold) == (0.73, 0.81)
    assert points.at(0.735, 0.81).threshold == 0.735
    assert points.at(0.1, 2.0) == points.at(0.4, 1.0)


def test_a_curve_is_what_one_score_alone_gives() -> None:
    found, pairs = drawn(8)
    line = curve(found.combined, pairs.combined, pairs.pairs, Catalog(300, 1.0))
    assert line.recall == pytest.approx([(steps(found.combined) > i).mean() for i in range(SIZE)])
    some = line.recall > 0
    right = line.recall[some]
    assert line.least_precision[some] == pytest.approx(right / (right + line.most_false[some] * 299))
    assert (line.precision >= line.least_precision).all()
