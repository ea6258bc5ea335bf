from __future__ import annotations

from catalog.compaction import is_due
from catalog.snapshot import FileEntry


def file(rows: int, removed: int = 0) -> FileEntry:
    return FileEntry(0, f"{rows}", "", 0, rows, tuple(map(str, range(removed))))


def test_deltas_and_dead_rows_are_folded_past_their_share_of_the_live_rows() -> None:
    assert not is_due([file(100)], 0)
    assert not is_due([file(100)], 25)
    assert is_due([file(100)], 34)
    assert not is_due([file(100), file(10), file(10)], 0)
    assert is_due([file(100), file(10), file(20)], 10)
    assert not is_due([file(100, removed=19)], 0)
    assert is_due([file(100, removed=21)], 0)


def test_the_first_file_of_a_partition_needs_no_fold() -> None:
    assert not is_due([], 1_000)


def test_many_small_deltas_are_folded_before_they_are_a_crowd() -> None:
    assert not is_due([file(10_000), *(file(1) for _ in range(14))], 1)
    assert is_due([file(10_000), *(file(1) for _ in range(15))], 1)
