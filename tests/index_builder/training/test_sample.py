from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.training.sample import (
    Shares,
    draw,
    kept_rows,
    merge_queries,
    merge_samples,
    read_sample,
    write_sample,
)
from tests.index_builder.vectors import clustered

IDS = [f"item-{number}" for number in range(2_000)]
VECTORS = clustered(2_000, 6)


def test_a_draw_is_the_same_however_the_rows_are_cut_and_ordered() -> None:
    shares = Shares.of(100, 400, 2_000)
    whole = draw(IDS, VECTORS, 0, 7, shares)
    parts = [draw(IDS[i : i + 333], VECTORS[i : i + 333], i, 7, shares) for i in range(0, 2_000, 333)][::-1]
    for name in ("queries", "training"):
        one = merge_samples([getattr(whole, name)], 90)
        other = merge_samples([getattr(part, name) for part in parts], 90)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.vectors, VECTORS[one.rows])
        assert set(one.rows.tolist()) != set(range(90))
    assert set(draw(IDS, VECTORS, 0, 8, shares).training.rows) != set(whole.training.rows)


def test_what_asks_is_not_trained_on() -> None:
    drawn = draw(IDS, VECTORS, 0, 1, Shares.of(1_000, 2_000, 2_000))
    assert len(drawn.queries.rows) > 900
    assert not set(drawn.queries.rows) & set(drawn.training.rows)
    assert len(drawn.queries.rows) + len(drawn.training.rows) == 2_000


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 20), st.integers(0, 1_900))
def test_somebody_always_asks_and_no_more_than_are_wanted(rows: int, queries: int, parts: int, first: int) -> None:
    ids, vectors, shares = IDS[first : first + rows], VECTORS[first : first + rows], Shares.of(queries, rows, rows)
    cuts = [range(part, rows, parts) for part in range(parts)]
    drawn = [draw([ids[row] for row in cut], vectors[cut], 0, 1, shares) for cut in cuts]
    asked = merge_queries([each.queries for each in drawn], shares.queries, queries)
    whole = draw(ids, vectors, 0, 1, shares)
    below = whole.queries.keys[whole.queries.keys < shares.queries * 2.0**64]
    assert asked.keys.tolist() == sorted(below.tolist() or whole.queries.keys.tolist())[:queries]
    assert 1 <= len(asked.keys) <= queries
    if shares.queries == 1:
        assert len(asked.keys) == min(rows, queries)
    # Who is only drawn because nobody asks in his part is trained on as before.
    assert sum(len(each.training.keys) for each in drawn) == rows - len(below)


def test_where_no_vector_is_usable_nobody_asks() -> None:
    drawn = draw(IDS[:9], np.zeros((9, 6), np.float32), 0, 1, Shares(1.0, 1.0, {}))
    assert len(merge_queries([drawn.queries], 1.0, 5).keys) == 0


def test_vectors_that_are_not_finite_or_zero_are_left_out() -> None:
    vectors = np.ones((4, 2), np.float32)
    vectors[1, 0], vectors[2] = np.nan, 0
    drawn = draw(["a", "b", "c", "d"], vectors, 10, 1, Shares(0.0, 1.0, {}))
    assert drawn.training.rows.tolist() == [10, 13]


def test_of_equal_vectors_one_is_kept_until_too_few_are_left() -> None:
    vectors = np.repeat(clustered(50, 6), 20, axis=0)
    drawn = draw(IDS[:1_000], vectors, 0, 1, Shares(0.0, 1.0, {}))
    kept = kept_rows(drawn.training.keys, drawn.digests, most=500, least=10)
    assert kept.sum() == 50
    assert len(np.unique(drawn.training.vectors[kept], axis=0)) == 50
    assert kept_rows(drawn.training.keys, drawn.digests, most=30, least=10).sum() == 30
    filled = kept_rows(drawn.training.keys, drawn.digests, most=500, least=200)
    assert filled.sum() == 200
    assert len(np.unique(drawn.training.vectors[filled], axis=0)) == 50


@pytest.mark.parametrize("training", [20, 200, 1_000])
def test_a_draw_has_about_its_share_of_the_rows_and_rather_too_many(training: int) -> None:
    ids = [f"item-{number}" for number in range(20_000)]
    drawn = draw(ids, np.ones((20_000, 1), np.float32), 0, 3, Shares.of(0, training, 20_000))
    assert abs(len(drawn.training.rows) - 1.1 * training) < 5 * np.sqrt(1.1 * training)


def test_a_rare_value_gets_its_share_and_a_frequent_one_keeps_most_of_its_own() -> None:
    values = ["rare"] * 60 + ["often"] * 1_940
    shares = Shares.of(0, 200, 2_000, Counter(values))
    drawn = draw(IDS, VECTORS, 0, 1, shares, values)
    found = Counter(values[row] for row in drawn.training.rows)
    assert 35 < found["rare"] <= 60  # Half of the sample is dealt alike to the two values: 50, and its 3 % of the rest.
    assert 110 < found["often"] < 210
    cut = kept_rows(drawn.training.keys, drawn.digests, most=100, least=0)
    left = Counter(values[row] for row in drawn.training.rows[cut])
    assert left["rare"] / found["rare"] == pytest.approx(100 / len(drawn.training.rows), abs=0.15)
    plain = draw(IDS, VECTORS, 0, 1, Shares.of(0, 200, 2_000))
    assert Counter(values[row] for row in plain.training.rows)["rare"] < 20


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("rows", [0, 5])
def test_a_stored_sample_is_read_as_it_was_written(dtype: type, rows: int) -> None:
    drawn = draw(IDS[:rows], VECTORS[:rows].astype(dtype), 40, 1, Shares(0.0, 1.0, {}))
    write_sample("memory://sample/one", drawn.training, drawn.digests)
    again, digests = read_sample("memory://sample/one")
    for name in ("keys", "rows", "vectors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn.training, name))
    np.testing.assert_array_equal(digests, drawn.digests)
    assert again.vectors.dtype == dtype
    assert again.vectors.shape == (rows, 6)
