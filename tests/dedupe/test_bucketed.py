"""Bucketed files give back what was written, bucket by bucket, and tell when they were damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError
from dedupe.bucketed import read_bucket, write_buckets


def rows(count: int, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "row": np.arange(count),
            "score": random.random(count, np.float32),
            "thumbnail": pa.array([random.bytes(192) for _ in range(count)], pa.binary(192)),
            "hash": pa.array([random.bytes(32) if each % 3 else None for each in range(count)], pa.binary(32)),
            "name": pa.array([f"item {each}" for each in range(count)], pa.string()),
        }
    )


@settings(deadline=None, max_examples=30)
@given(files=st.lists(st.lists(st.integers(0, 4), max_size=20), min_size=1, max_size=4))
def test_every_bucket_has_its_rows_in_the_order_of_files_and_rows(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("buckets")
    urls, tables = [], []
    for number, buckets in enumerate(files):
        table = rows(len(buckets), number)
        urls.append(str(folder / f"{number}"))
        tables.append(table)
        write_buckets(urls[-1], table, np.array(buckets, np.int64), 5)
    for bucket in range(5):
        wanted = pa.concat_tables(
            table.filter(pa.array([each == bucket for each in buckets], pa.bool_()))
            for table, buckets in zip(tables, files, strict=True)
        )
        assert read_bucket(urls, bucket).equals(wanted)


def test_the_same_rows_are_the_same_bytes_however_the_table_is_chunked(tmp_path: Path) -> None:
    table, bucket = rows(500), np.arange(500) % 7
    pieces = pa.concat_tables([table.slice(0, 100), table.slice(100, 1), table.slice(101)])
    write_buckets(str(tmp_path / "a"), table, bucket, 7)
    write_buckets(str(tmp_path / "b"), pieces, bucket, 7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_bucket_is_read_without_the_bytes_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "file")
    write_buckets(url, rows(20_000), np.arange(20_000) % 100, 100)
    reads: list[int] = []
    read_range = storage.read_range

    def counted(url: str, start: int, length: int) -> bytes:
        data = read_range(url, start, length)
        reads.append(len(data))
        return data

    monkeypatch.setattr(storage, "read_range", counted)
    assert len(read_bucket([url], 17)) == 200
    assert len(reads) <= 3
    assert sum(reads) < storage.size(url) / 50


@pytest.mark.parametrize("buckets", [3, 60])
def test_a_damaged_byte_anywhere_is_found_and_the_file_named(tmp_path: Path, buckets: int) -> None:
    path = tmp_path / "file"
    table, bucket = rows(30), np.arange(30) % 3
    write_buckets(str(path), table, bucket, buckets)
    good = path.read_bytes()
    whole = [read_bucket([str(path)], each) for each in range(buckets)]
    table_at = 32 + struct.unpack_from("<8sQQ", good)[2]
    unused = range(table_at + 16 * buckets + 8, table_at + 16 * buckets + 16)  # The checksum of no bucket.
    for at in range(0, len(good), 37 if buckets == 3 else 397):
        bad = bytearray(good)
        bad[at] ^= 0x41
        path.write_bytes(bytes(bad))
        errors = []
        for each in range(buckets):
            try:
                assert read_bucket([str(path)], each).equals(whole[each])
            except IntegrityError as error:
                errors.append(str(error))
        assert all(str(path) in error for error in errors)
        assert errors or at in unused


def test_a_file_that_ends_too_early_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_buckets(str(path), rows(300), np.arange(300) % 3, 3)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="ends too early"):
        read_bucket([str(path)], 2)


def test_a_bucket_number_that_is_none_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "file")
    with pytest.raises(ValueError, match="there are 3 buckets"):
        write_buckets(url, rows(4), np.array([0, 1, 2, 3]), 3)
    with pytest.raises(ValueError, match="3 bucket numbers for 4 rows"):
        write_buckets(url, rows(4), np.array([0, 1, 2]), 3)
    write_buckets(url, rows(4), np.array([0, 1, 2, 0]), 3)
    with pytest.raises(ValueError, match="none of the number 3"):
        read_bucket([url], 3)
