from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.list_join import PAIRS, Entries, JoinOptions, join_list
from dedupe.measure import Measure
from dedupe.views import FULL
from tests.dedupe.drawn import brute_pairs, entries_of, pictures, rows_of


def drawn(count: int, copies: int) -> tuple[Measure, np.ndarray]:
    thumbnails, embeddings = pictures(count, copies, 1)
    measure = Measure.fit(thumbnails, embeddings)
    return measure, measure.describe(thumbnails, embeddings)


MEASURE, DESCRIBED = drawn(20, 3)
OPTIONS = JoinOptions(MEASURE.scoring, tile=7)


def passing(pairs: pa.Table, thumbnail_threshold: float, threshold: float) -> pa.Table:
    thumbnail = pc.greater_equal(pairs["thumbnail"], pa.scalar(thumbnail_threshold, pa.float32()))
    return pairs.filter(pc.or_(thumbnail, pc.greater_equal(pairs["combined"], pa.scalar(threshold, pa.float32()))))


@pytest.mark.parametrize(("thumbnail_threshold", "threshold"), [(0.8, 0.73), (0.3, 0.2), (2.0, 0.5), (0.6, 2.0)])
def test_the_pairs_of_a_list_are_those_of_comparing_everything(thumbnail_threshold: float, threshold: float) -> None:
    expected = brute_pairs(MEASURE, DESCRIBED, thumbnail_threshold, threshold)
    assert expected.num_rows >= 50
    for tile in (7, 1_024):
        pairs = join_list(entries_of(DESCRIBED), thumbnail_threshold, threshold, replace(OPTIONS, tile=tile))
        assert pairs.equals(expected)


def test_vectors_without_thumbnails_are_joined_by_their_cosine_alone() -> None:
    embeddings = pictures(30, 2, 4)[1]
    measure = Measure.fit(None, embeddings)
    described = measure.describe(None, embeddings)
    assert described.shape == (60, 1, 64)
    pairs = join_list(entries_of(described), 2.0, 0.5, JoinOptions(measure.scoring))
    assert rows_of(pairs) >= {(row, row + 1) for row in range(0, 60, 2)}
    assert pairs.equals(brute_pairs(measure, described, 2.0, 0.5))


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 70), st.sampled_from([1, 2, 5]))
def test_neither_the_order_of_entries_nor_tiles_nor_what_is_held_changes_the_pairs(
    random: object, tile: int, neighbours: int
) -> None:
    entries = entries_of(DESCRIBED)
    order = np.arange(len(entries.row))
    random.shuffle(order)  # type: ignore[attr-defined]
    options = replace(OPTIONS, neighbours=neighbours, keepers=3)
    expected = join_list(entries, 0.4, 0.3, options)
    assert join_list(entries.take(order), 0.4, 0.3, replace(options, tile=tile, held=50)).equals(expected)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    st.integers(1, 6),
    st.sampled_from([20, 1_000]),
)
def test_a_higher_threshold_gives_the_pairs_of_a_lower_one_that_pass_it(
    low: tuple[float, float], more: tuple[float, float], neighbours: int, max_list: int
) -> None:
    options = replace(OPTIONS, neighbours=neighbours, keepers=2, max_list=max_list)
    high = (low[0] + more[0], low[1] + more[1])
    below = join_list(entries_of(DESCRIBED), *low, options)
    assert join_list(entries_of(DESCRIBED), *high, options).equals(passing(below, *high))


def test_of_one_klass_the_lowest_row_stands_for_all() -> None:
    entries = entries_of(DESCRIBED)
    same = replace(entries, klass=(entries.row // 3).astype(np.uint64))
    assert rows_of(join_list(same, 0.8, 0.73, OPTIONS)) == set()
    first = replace(entries, klass=np.where(entries.row <= 1, 0, entries.row).astype(np.uint64))
    expected = {pair for pair in rows_of(join_list(entries, 0.8, 0.73, OPTIONS)) if 1 not in pair}
    assert rows_of(join_list(first, 0.8, 0.73, OPTIONS)) == expected


def test_pairs_of_two_that_are_not_new_are_left_out() -> None:
    new = np.arange(60) % 3 == 1
    pairs = rows_of(join_list(entries_of(DESCRIBED, new=new), 0.8, 0.73, OPTIONS))
    assert pairs == {
        pair for pair in rows_of(join_list(entries_of(DESCRIBED), 0.8, 0.73, OPTIONS)) if new[[*pair]].any()
    }
    assert 0 < len(pairs) < 60
    assert join_list(entries_of(DESCRIBED, new=new & False), 0.8, 0.73, OPTIONS).equals(PAIRS.empty_table())


def test_the_mean_of_two_offsets_is_taken_off_the_combination() -> None:
    entries = entries_of(DESCRIBED)
    offset = (entries.row % 5).astype(np.float32) / 20 - np.float32(0.05)
    plain = join_list(entries, 2.0, 0.3, OPTIONS)
    a, b = plain["row_a"].to_numpy(), plain["row_b"].to_numpy()
    less = (a % 5 / 20 + b % 5 / 20) / 2 - 0.05
    expected = plain["combined"].to_numpy() - less
    pairs = join_list(replace(entries, offset=offset), 2.0, 0.5, OPTIONS)
    assert rows_of(pairs) == {(x, y) for x, y, s in zip(a.tolist(), b.tolist(), expected, strict=True) if s >= 0.5}
    np.testing.assert_allclose(pairs["combined"].to_numpy(), expected[expected >= 0.5], atol=1e-6)


def test_views_without_their_picture_meet_pictures_and_not_each_other() -> None:
    entries = entries_of(DESCRIBED)
    whole = (entries.view == 0) == (entries.row % 3 == 0)
    pairs = rows_of(join_list(entries.take(whole), 0.8, 0.73, OPTIONS))
    assert pairs
    assert all((a % 3 == 0) != (b % 3 == 0) or a % 3 == 0 for a, b in pairs)
    assert join_list(entries.take(entries.view > 0), 0.1, 0.1, OPTIONS).equals(PAIRS.empty_table())


def dense(count: int) -> tuple[Measure, Entries]:
    """So many pictures that are all alike, and no two the same."""
    thumbnails, embeddings = pictures(1, count, 6)
    some = pictures(200, 1, 7)
    measure = Measure.fit(*some, views=(FULL,))
    return measure, entries_of(measure.describe(thumbnails, embeddings))


def test_in_a_dense_cluster_a_picture_has_its_strongest_pairs_and_those_with_the_preferred() -> None:
    measure, entries = dense(300)
    order = (entries.row * 7919 % 300).astype(np.uint64)
    options = JoinOptions(measure.scoring, neighbours=4, keepers=5, tile=64, held=1_000)
    every = join_list(entries, 0.5, 0.5, replace(options, neighbours=1_000))
    assert every.num_rows == 300 * 299 // 2
    a, b = every["row_a"].to_numpy(), every["row_b"].to_numpy()
    strength = np.maximum(every["combined"].to_numpy(), every["thumbnail"].to_numpy() - np.float32(options.lead))
    expected = {(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if order[x] < 5 or order[y] < 5}
    for row in range(300):
        mine = np.flatnonzero((a == row) | (b == row))
        best = mine[np.lexsort((a[mine] + b[mine], -strength[mine]))[:4]]
        expected |= set(zip(a[best].tolist(), b[best].tolist(), strict=True))
    pairs = join_list(replace(entries, order=order), 0.5, 0.5, options)
    assert rows_of(pairs) == expected


def test_a_long_list_is_joined_within_the_memory_of_its_tiles_and_pairs() -> None:
    measure, entries = dense(2_500)
    options = JoinOptions(measure.scoring, neighbours=10, keepers=4, tile=256, held=50_000)
    tracemalloc.start()
    pairs = join_list(entries, 0.5, 0.5, options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs.num_rows >= 2_500 * 10 / 2
    # All pairs would be 3 million of 24 bytes, and sorted several times that.
    assert peak < 40 << 20
