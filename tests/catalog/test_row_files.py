from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import row_files, storage
from catalog.errors import ConflictError, IntegrityError
from catalog.row_files import Chunks, content_keys, read_rows, rows_a_chunk, store_rows
from catalog.sorted_files import in_order
from tests.catalog.test_partition_rows import batches, row

KEY = b"k" * 32


@given(
    st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=8), min_size=1, max_size=5),
    st.sampled_from([1, 16, 1024]),
)
def test_a_chunk_is_bounded_however_the_rows_are_distributed(readers: list[list[int]], partitions: int) -> None:
    """Each reader reads blocks of rows, all of partition 0."""
    sizes: Counter[int] = Counter()
    numbers: list[int] = []
    total = sum(map(sum, readers))
    for blocks in readers:
        chunks = Chunks(rows_a_chunk(sum(blocks), partitions, len(readers)))
        for length in blocks:
            block = pa.record_batch({"n": np.arange(len(numbers), len(numbers) + length)})
            dealt = list(chunks.deal(0, block))
            assert [each for _, part in dealt for each in part["n"].to_pylist()] == block["n"].to_pylist()
            numbers += block["n"].to_pylist()
            for chunk, part in dealt:
                assert len(part) > 0
                sizes[chunk] += len(part)
    assert sum(sizes.values()) == total
    most = 4 * (total / partitions + len(readers)) + max(4_096, 64 * len(readers))
    assert all(size <= most for size in sizes.values())


def test_a_partition_ten_times_the_others_has_more_chunks_and_not_larger_ones() -> None:
    """A million rows of 64 partitions: 15,625 in each, and then one with ten times the others."""
    rows, partitions = 1_000_000, 64
    most = rows_a_chunk(rows, partitions, 1)
    assert most == 62_500
    even = Chunks(most)
    block = pa.record_batch({"n": np.zeros(rows // partitions, np.int8)})
    assert {chunk for partition in range(partitions) for chunk, _ in even.deal(partition, block)} == {0}
    skewed, large = Chunks(most), 10 * rows // (partitions + 9)
    dealt = [(chunk, len(part)) for _ in range(10) for chunk, part in skewed.deal(7, block.slice(0, large // 10))]
    sizes: Counter[int] = Counter()
    for chunk, length in dealt:
        sizes[chunk] += length
    assert sorted(sizes) == [0, 1, 2]
    assert max(sizes.values()) == most


def test_the_same_rows_have_the_same_name_whatever_their_order_and_are_read_sorted(tmp_path: Path) -> None:
    rows = [row("b", origin="c.csv row 2"), row("a", "/2", origin="c.csv row 10"), row("a", "/2", origin="c.csv row 9")]
    rows += [row("", None, origin="c.csv row 4", reason="empty_item_id"), row("a", "/1", origin="c.csv row 5")]  # type: ignore[arg-type]
    names = {next(store_rows(str(tmp_path / "r"), batches(some), KEY)) for some in (rows, rows[::-1])}
    assert len(names) == 1
    found = pa.concat_tables(read_rows(str(tmp_path / "r"), names, tmp_path, KEY))
    assert [origin.split()[-1] for origin in found["origin"].to_pylist()] == ["4", "5", "9", "10", "2"]


def test_very_large_chunks_become_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "_MOST_BYTES", 100)
    monkeypatch.setattr(row_files, "_JOINED_BLOCKS", 1)
    rows = [row(f"i{number}", origin=f"c.csv row {number}") for number in range(9)]
    names = list(store_rows(str(tmp_path), batches(rows), KEY))
    assert len(names) > 2
    found = pa.concat_tables(read_rows(str(tmp_path), names, tmp_path, KEY)).combine_chunks()
    assert found.equals(in_order(pa.Table.from_batches(batches(rows)), content_keys))


def test_rows_that_are_gone_or_damaged_are_told(tmp_path: Path) -> None:
    (name,) = store_rows(str(tmp_path), batches([row("a")]), KEY)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=f"{path} is damaged: .* run again"):
        list(read_rows(str(tmp_path), [name], tmp_path / "scratch", KEY))
    storage.delete(str(path))
    with pytest.raises(ConflictError, match="the same command ran twice at once; run it again"):
        list(read_rows(str(tmp_path), [name], tmp_path / "scratch", KEY))


def test_what_could_be_a_secret_is_read_again_and_stored_sealed(tmp_path: Path) -> None:
    uris = ["https://me:word@shop/a.jpg?signature=hush", "https://shop/b.jpg", None, "gs://box/c.jpg?part=hush"]
    rows = [row(f"i{number}", uri, origin=f"c.csv row {number}") for number, uri in enumerate(uris)]  # type: ignore[arg-type]
    (name,) = store_rows(str(tmp_path / "rows"), batches(rows), KEY)
    stored = pa.ipc.open_file(tmp_path / "rows" / name).read_all()
    assert stored["image_uri"].to_pylist() == ["https://shop/a.jpg", "https://shop/b.jpg", None, "gs://box/c.jpg"]
    assert not any(b"hush" in (sealed or b"") for sealed in stored["sealed"].to_pylist())
    found = pa.concat_tables(read_rows(str(tmp_path / "rows"), [name], tmp_path, KEY))
    assert found["image_uri"].to_pylist() == uris
    with pytest.raises(ValueError, match="another key"):
        list(read_rows(str(tmp_path / "rows"), [name], tmp_path, b"x" * 32))
