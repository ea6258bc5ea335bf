from __future__ import annotations

from dataclasses import replace

import numpy as np

from dedupe.list_entries import parts_of
from dedupe.list_join import JoinOptions, join_list
from dedupe.measure import Measure
from dedupe.views import FULL
from tests.dedupe.drawn import entries_of, pictures


def test_a_list_that_is_too_long_is_split_and_keeps_its_pairs() -> None:
    thumbnails, embeddings = pictures(400, 3, 1)
    measure = Measure.fit(thumbnails, embeddings, views=(FULL, "grey", "crop20"))
    entries = entries_of(measure.describe(thumbnails, embeddings))
    parts = list(parts_of(entries.distinct(), measure.scoring, 200, 64, 0))
    assert len(parts) > 10
    assert max(len(np.unique(part.row[part.view == 0])) for part in parts) <= 200
    whole = join_list(entries, 0.8, 0.73, JoinOptions(measure.scoring))
    split = join_list(entries, 0.8, 0.73, JoinOptions(measure.scoring, max_list=200))
    found = set(zip(split["row_a"].to_pylist(), split["row_b"].to_pylist(), strict=True))
    wanted = set(zip(whole["row_a"].to_pylist(), whole["row_b"].to_pylist(), strict=True))
    assert found <= wanted
    assert len(found) >= 0.99 * len(wanted) > 1_000


def test_pictures_that_cannot_be_told_apart_are_cut_and_every_piece_has_the_same_preferred() -> None:
    thumbnails, embeddings = pictures(1, 1, 1)
    measure = Measure.fit(*pictures(50, 1, 2), views=(FULL,))
    described = measure.describe(thumbnails, embeddings).repeat(1_000, axis=0)
    entries = replace(entries_of(described), order=np.arange(1_000, 0, -1).astype(np.uint64))
    parts = list(parts_of(entries, measure.scoring, 100, 10, 0))
    assert len(parts) == 12
    for part in parts:
        assert len(part.row) <= 100
        assert set(part.row) >= set(range(990, 1_000))
    pairs = join_list(entries, 0.8, 0.73, JoinOptions(measure.scoring, neighbours=5, keepers=10, max_list=100))
    with_first = [
        a if b == 999 else b
        for a, b in zip(*(pairs[name].to_pylist() for name in ("row_a", "row_b")), strict=True)
        if 999 in (a, b)
    ]
    assert sorted(with_first) == list(range(999))
    assert pairs.num_rows < 1_000 * 20


def test_distinct_entries_are_ordered_and_without_zeros() -> None:
    thumbnails, embeddings = pictures(5, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    described = measure.describe(thumbnails, embeddings)
    described[3] = 0
    described[2, 4] = 0
    entries = entries_of(described)
    entries = replace(entries, klass=np.where(entries.row == 4, 1, entries.row).astype(np.uint64))
    distinct = entries.take(np.random.default_rng(1).permutation(len(entries.row))).distinct()
    expected = [(row, view) for row in (0, 1, 2) for view in range(9) if (row, view) != (2, 4)]
    assert list(zip(distinct.row.tolist(), distinct.view.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(distinct.preferred(2), [0, 1])
