from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from dedupe import unrelated
from dedupe.measure import Measure
from dedupe.unrelated import THRESHOLDS, best_scores, compare_unrelated
from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS
from tests.dedupe.drawn import brute_pairs, pictures


def rows_of(thumbnails: np.ndarray, **columns: pa.Array) -> pa.Table:
    """A sample in which nothing is known of the pictures but what `columns` say."""
    count = len(thumbnails)
    table = {
        "item_id": pa.array([f"i{row:03d}" for row in range(count)]),
        "product_id": pa.nulls(count, pa.string()),
        "content_hash": pa.array([f"{row:032d}".encode() for row in range(count)], pa.binary(32)),
        "pixel_hash": pa.nulls(count),
        # Half of the bits differ between any two.
        "phash": pa.array(np.random.default_rng(0).integers(0, 1 << 63, count).astype(np.uint64)),
        "thumbnail": pa.array([each.tobytes() for each in thumbnails], pa.binary(192)),
    }
    return pa.table({**table, **columns})


def drawn(count: int, copies: int, views: tuple[str, ...] = DEFAULT_VIEWS) -> tuple[Measure, np.ndarray, np.ndarray]:
    thumbnails, embeddings = pictures(count, copies, seed=3)
    measure = Measure.fit(thumbnails, embeddings, views)
    return measure, measure.describe(thumbnails, embeddings), thumbnails


@pytest.mark.parametrize("views", [DEFAULT_VIEWS, ("full",), (*DEFAULT_VIEWS, *TURNED_VIEWS)])
def test_the_fast_scores_are_the_best_over_all_views_and_both_directions(views: tuple[str, ...]) -> None:
    measure, described, _ = drawn(12, 2, views)
    described[5] = 0  # A flat picture without a vector is like nothing.
    thumbnail, combined = best_scores(measure.scoring, described[:10], described)
    slow = brute_pairs(measure, described, -2, -2)
    for a, b, by_thumbnail, by_both in zip(*(slow[name].to_pylist() for name in slow.column_names), strict=True):
        if a < 10:
            assert thumbnail[a, b] == pytest.approx(by_thumbnail, abs=1e-6)
            assert combined[a, b] == pytest.approx(by_both, abs=1e-6)


@pytest.mark.parametrize("tile", [(1_024, 4_096), (7, 5), (1, 64)])
def test_pairs_are_counted_as_one_by_one(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrelated, "_ROWS", tile[0])
    monkeypatch.setattr(unrelated, "_COLUMNS", tile[1])
    measure, described, thumbnails = drawn(15, 2)
    found = compare_unrelated(measure, described, rows_of(thumbnails), closest=5)
    slow = brute_pairs(measure, described, -2, -2)
    assert (found.rows, found.pairs) == (30, 30 * 29 // 2)
    for name in ("thumbnail", "combined"):
        scores = slow[name].to_numpy()
        assert getattr(found, name).tolist() == [int((scores >= each - 5e-6).sum()) for each in THRESHOLDS]
    best = sorted(zip(*(slow[name].to_pylist() for name in slow.column_names), strict=True), key=lambda p: -max(p[2:]))
    expected = [(f"i{a:03d}", f"i{b:03d}") for a, b, _, _ in best[:5]]
    assert [(pair.item_id, pair.other_item_id) for pair in found.closest] == expected


def test_pairs_that_are_known_to_belong_together_do_not_count() -> None:
    """Copies are neighbours: rows 0 and 1, 2 and 3, …"""
    measure, described, thumbnails = drawn(6, 2)
    far = np.random.default_rng(1).integers(0, 1 << 63, 12).astype(np.uint64)
    far[9] = far[8] ^ np.uint64(0b111111)  # 6 bits.
    far[11] = far[10] ^ np.uint64(0b1111111)  # 7: one too many.
    rows = rows_of(
        thumbnails,
        product_id=pa.array(["p", "p", None, None, *map(str, range(8))]),
        content_hash=pa.array([f"{max(row, 3):032d}".encode() for row in range(12)], pa.binary(32)),
        pixel_hash=pa.array([*"abcd", "e", "e", *"ghijkl"]),
        phash=pa.array(far),
    )
    found = compare_unrelated(measure, described, rows, same=[("i007", "i006"), ("i999", "i000")])
    assert found.left_out == {"product": 1, "bytes": 1, "pixels": 1, "phash": 1, "reviewed": 1}
    assert found.pairs == 12 * 11 // 2 - 5
    left = {(pair.item_id, pair.other_item_id) for pair in found.closest}
    assert ("i010", "i011") in left
    assert left.isdisjoint({(f"i{row:03d}", f"i{row + 1:03d}") for row in (0, 2, 4, 6, 8)})


def test_hashes_that_are_alike_do_not_excuse_pictures_that_are_not() -> None:
    measure, described, thumbnails = drawn(6, 2)
    thumbnails = thumbnails.copy()
    thumbnails[1, :96] //= 4  # Half of the picture has become dark.
    rows = rows_of(thumbnails, phash=pa.array(np.zeros(12, np.uint64)))
    found = compare_unrelated(measure, described, rows)
    named = {(pair.item_id, pair.other_item_id) for pair in found.closest}
    assert ("i000", "i001") in named
    assert ("i002", "i003") not in named
    assert found.left_out["phash"] == 5


def test_one_picture_has_no_pairs() -> None:
    measure, described, thumbnails = drawn(1, 1)
    found = compare_unrelated(measure, described, rows_of(thumbnails))
    assert (found.pairs, found.closest, int(found.combined.sum())) == (0, (), 0)


def test_the_order_of_the_rows_changes_no_count() -> None:
    measure, described, thumbnails = drawn(10, 3)
    rows = rows_of(thumbnails, product_id=pa.array([str(row % 4) for row in range(30)]))
    order = np.random.default_rng(2).permutation(30)
    one, other = (
        compare_unrelated(measure, described[each], rows.take(pa.array(each))) for each in (np.arange(30), order)
    )
    assert one.combined.tolist() == other.combined.tolist()
    assert one.left_out == other.left_out
    pairs = [sorted(frozenset((p.item_id, p.other_item_id)) for p in each.closest) for each in (one, other)]
    assert all(a == b for a, b in itertools.zip_longest(*map(sorted, [[tuple(sorted(p)) for p in q] for q in pairs])))
