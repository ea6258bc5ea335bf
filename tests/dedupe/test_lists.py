from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from dedupe import lists as module
from dedupe.list_join import JoinOptions, join_list
from dedupe.lists import NO_LIST, PROBES, VIEW_PROBES, Lists, list_count
from dedupe.measure import Measure
from index_builder.training import centroids
from tests.dedupe.drawn import entries_of, pictures, rows_of


def test_alike_pictures_share_a_list_and_one_row_or_equal_rows_have_one() -> None:
    thumbnails, embeddings = pictures(200, 3, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    lists = Lists.train(own, 20, measure.scoring, 1)
    assigned = lists.assign(own, 3)
    assert assigned.dtype == np.int32
    assert len(np.unique(assigned)) == 20
    together = [(set(assigned[at]) & set(assigned[at + 1])) != set() for at in range(0, 600, 3)]
    assert np.mean(together) == 1.0
    for few in (own[:1], own[:1].repeat(50, axis=0)):
        one = Lists.train(few, 20, measure.scoring, 1)
        np.testing.assert_array_equal(one.assign(own, 2), [[0, NO_LIST]] * 600)
    np.testing.assert_array_equal(lists.assign(np.zeros((2, own.shape[1]), np.int8), 3), [[NO_LIST] * 3] * 2)
    np.testing.assert_array_equal(Lists.from_bytes(lists.to_bytes(), "x").assign(own, 3), assigned)


def test_pairs_across_borders_are_found_by_several_probes() -> None:
    thumbnails, embeddings = pictures(600, 3, 2)
    measure = Measure.fit(thumbnails, embeddings)
    described = measure.describe(thumbnails, embeddings)
    options = JoinOptions(measure.scoring)
    every = entries_of(described)
    wanted = rows_of(join_list(every, 0.81, 0.74, options))
    lists = Lists.train(described[:, 0], 40, measure.scoring, 1)
    own, views = lists.assign(described[:, 0], PROBES), lists.assign(every.descriptor, VIEW_PROBES)
    found: set[tuple[int, int]] = set()
    for number in range(40):
        mine = (every.view > 0) & (views == number).any(axis=1)
        mine |= (every.view == 0) & (own == number).any(axis=1).repeat(described.shape[1])
        found |= rows_of(join_list(every.take(mine), 0.81, 0.74, options))
    assert found <= wanted
    assert len(found) >= 0.99 * len(wanted) > 1_000


def test_lists_do_not_depend_on_the_order_of_the_sample_nor_on_the_threads() -> None:
    thumbnails, embeddings = pictures(700, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    expected = Lists.train(own, 30, measure.scoring, 1).to_bytes()
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            assert Lists.train(own[::-1], 30, measure.scoring, 1).to_bytes() == expected
    finally:
        faiss.omp_set_num_threads(before)


def test_two_levels_find_nearly_the_lists_of_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centroids, "FLAT_BELOW", 32)
    thumbnails, embeddings = pictures(3_000, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    lists = Lists.train(own, 128, measure.scoring, 1)
    assert len(lists.cells) == 16
    one_level = replace(lists, cells=lists.cells[:0], starts=np.zeros(1, np.int64))
    assigned, expected = lists.assign(own, 3), one_level.assign(own, 3)
    assert (assigned[:, 0] == expected[:, 0]).mean() > 0.97
    assert np.mean([len(set(a) & set(b)) / 3 for a, b in zip(assigned, expected, strict=True)]) > 0.93
    monkeypatch.setattr(module, "_CELLS", 16)
    np.testing.assert_array_equal(lists.assign(own, 3), expected)


def test_which_lists_a_picture_goes_to_does_not_depend_on_the_others() -> None:
    thumbnails, embeddings = pictures(500, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    lists = Lists.train(own, 25, measure.scoring, 1)
    expected = lists.assign(own, 3)
    np.testing.assert_array_equal(np.concatenate([lists.assign(own[at : at + 1], 3) for at in range(500)]), expected)


@pytest.mark.parametrize(
    ("rows", "sampled", "count"),
    [(0, 0, 1), (10, 10, 1), (1_999, 1_999, 1), (50_000, 50_000, 50), (10**9, 300_000, 10_000)],
)
def test_lists_have_a_thousand_rows_or_what_the_sample_can_place(rows: int, sampled: int, count: int) -> None:
    assert list_count(rows, sampled) == count
