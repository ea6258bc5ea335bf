from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from dedupe import leakage as module
from dedupe.leakage import Leakage, check_groups, label_conflicts, leakage

GROUPS = 3


def obvious(
    row: list[int], klass: list[int], group: list[int], edges: list[tuple[int, int]], ignored: list[tuple[int, int]]
) -> Leakage:
    """By looking at every pair of items."""
    linked = {frozenset(edge) for edge in edges}
    apart = {frozenset(pair) for pair in ignored}
    result = Leakage.nothing(GROUPS)
    reached: set[tuple[int, int]] = set()
    for one, other in combinations(range(len(row)), 2):
        alike = klass[one] == klass[other] or frozenset((klass[one], klass[other])) in linked
        if not alike or frozenset((row[one], row[other])) in apart or min(group[one], group[other]) < 0:
            continue
        a, b = group[one], group[other]
        result.pairs[a, b] += 1
        if a != b:
            result.pairs[b, a] += 1
        reached |= {(one, b), (other, a)}
    for item, value in reached:
        result.items[group[item], value] += 1
    return result


def of_lists(
    row: list[int],
    klass: list[int],
    group: list[int],
    edges: list[tuple[int, int]],
    ignored: list[tuple[int, int]] | None = None,
) -> Leakage:
    return leakage(
        np.array(row, np.int64),
        np.array(klass, np.uint64),
        np.array(group, np.int32),
        np.array(edges, np.uint64).reshape(-1, 2),
        GROUPS,
        np.array(ignored or [], np.int64).reshape(-1, 2),
    )


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_the_matrix_counts_what_looking_at_every_pair_of_items_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 12))
    row = data.draw(st.permutations(range(50, 50 + size)))
    klass = data.draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))
    group = data.draw(st.lists(st.integers(-1, GROUPS - 1), min_size=size, max_size=size))
    some_klass = st.sampled_from(klass or [0])
    edges = data.draw(st.lists(st.tuples(some_klass, some_klass), max_size=10)) if size else []
    some_row = st.integers(48, 50 + size)
    ignored = data.draw(st.lists(st.tuples(some_row, some_row), max_size=12))
    at_once = module._AT_ONCE
    module._AT_ONCE = data.draw(st.sampled_from([1, 3, at_once]))
    try:
        found = of_lists(row, klass, group, edges, ignored)
    finally:
        module._AT_ONCE = at_once
    wanted = obvious(row, klass, group, edges, ignored)
    assert found.items.tolist() == wanted.items.tolist()
    assert found.pairs.tolist() == wanted.pairs.tolist()


def test_components_add_up() -> None:
    one = of_lists([1, 2], [1, 1], [0, 1], [])
    other = of_lists([3, 4, 5], [2, 3, 3], [0, 0, 2], [(2, 3)])
    both = of_lists([1, 2, 3, 4, 5], [1, 1, 2, 3, 3], [0, 1, 0, 0, 2], [(2, 3)])
    total = one + other
    assert total.items.tolist() == both.items.tolist()
    assert total.pairs.tolist() == both.pairs.tolist()


def test_a_leak_that_is_not_the_nearest_duplicate_is_counted() -> None:
    # Train 1 and 2 are alike, and so are 2 and test 3, less. By the nearest duplicate alone, item 2 does not leak.
    train, test = 0, 1
    scores = {(1, 2): 0.99, (2, 3): 0.95}
    group = {1: train, 2: train, 3: test}
    nearest = {item: max((pair for pair in scores if item in pair), key=lambda pair: scores[pair]) for item in group}
    by_nearest = [item for item, pair in nearest.items() if {group[one] for one in pair} == {train, test}]
    found = of_lists([1, 2, 3], [1, 2, 3], [group[1], group[2], group[3]], list(scores))
    assert by_nearest == [3]
    assert found.items[train, test] + found.items[test, train] == 2


def test_a_leak_that_is_dropped_for_an_item_of_its_own_split_is_counted() -> None:
    # One picture five times, four of them in train. Of the items that are kept there is one, and so no leak.
    found = of_lists([1, 2, 3, 4, 5], [7] * 5, [0, 0, 0, 0, 1], [])
    assert found.items.tolist() == [[4, 4, 0], [1, 0, 0], [0, 0, 0]]
    assert found.shares(np.array([8, 2, 0])).tolist() == [[0.5, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]


def test_a_million_equal_pictures_are_counted_without_their_pairs() -> None:
    size = 1_000_000
    group = np.zeros(size, np.int32)
    group[:1000] = 1
    found = leakage(np.arange(size), np.zeros(size, np.uint64), group, np.empty((0, 2), np.uint64), 2)
    assert found.pairs.tolist() == [[999_000 * 998_999 // 2, 999_000_000], [999_000_000, 499_500]]
    assert found.items.tolist() == [[999_000, 999_000], [1000, 1000]]


def test_labels_that_contradict_one_another_are_listed_with_their_items() -> None:
    group = np.array([5, 5, 5, 6, 6, 7, 7], np.int64)
    label = pa.array(["dog", "cat", "cat", "dog", None, "cat", "cat"])
    assert label_conflicts(group, label).to_pylist() == [
        {"group": 5, "label": "cat", "items": 2},
        {"group": 5, "label": "dog", "items": 1},
    ]
    assert len(label_conflicts(group[:0], label[:0])) == 0


def test_a_matrix_that_nobody_can_read_is_refused() -> None:
    check_groups(1_000, "--group-column vendor")
    with pytest.raises(UsageError, match="--group-column vendor has 1,001 values; a leakage"):
        check_groups(1_001, "--group-column vendor")
