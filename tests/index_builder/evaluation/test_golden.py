from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import IntegrityError, UsageError
from index_builder.evaluation.golden import ask_golden, check_golden, read_golden, write_golden
from index_builder.measures import prepare
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.sample import VectorSample
from tests.index_builder.small_index import SmallIndex, small_index, write_flat
from tests.index_builder.vectors import clustered

POINT = OperatingPoint(4, 4)


@pytest.fixture(params=["cosine", "dot", "l2"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> SmallIndex:
    return small_index(tmp_path, request.param)


@pytest.mark.parametrize("kept", [True, False])
def test_an_index_answers_its_own_golden_queries(small: SmallIndex, kept: bool, tmp_path: Path) -> None:
    golden = ask_golden(small.searcher(kept), small.queries, POINT)
    write_golden(tmp_path / "golden.npz", golden)
    read = read_golden(tmp_path / "golden.npz")
    assert read.point == POINT
    assert (read.vectors.shape, read.rows.shape, read.values.shape) == ((32, 24), (32, 10), (32, 10))
    lowest = np.sort(small.queries.keys)[:32]
    own = [int(small.queries.rows[np.flatnonzero(small.queries.keys == key)[0]]) for key in lowest]
    np.testing.assert_array_equal(read.vectors, small.vectors[own])
    assert check_golden(small.searcher(kept), read) == []


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_a_flat_index_answers_its_own_golden_queries(metric: str, tmp_path: Path) -> None:
    vectors = prepare(clustered(300, 12), metric)
    rows = np.arange(0, 300, 5)
    write_flat(tmp_path / "i", vectors, metric)
    write_flat(tmp_path / "other", prepare(clustered(300, 12, seed=1), metric), metric)
    queries = VectorSample(rows.astype(np.uint64), rows, vectors[rows])
    golden = ask_golden(Searcher([tmp_path / "i"], [], metric), queries, OperatingPoint(0, 0))
    assert check_golden(Searcher([tmp_path / "i"], [], metric), golden) == []
    assert len(check_golden(Searcher([tmp_path / "other"], [], metric), golden)) == 32


@pytest.mark.parametrize("kept", [True, False])
def test_swapped_lists_are_noticed(small: SmallIndex, kept: bool) -> None:
    golden = ask_golden(small.searcher(kept), small.queries, POINT)
    lists = small.codes.lists.copy()
    largest, second = np.argsort(np.bincount(lists))[::-1][:2]
    swapped = np.select([lists == largest, lists == second], [second, largest], lists)
    order = np.argsort(swapped, kind="stable")
    other = replace(
        small.codes,
        lists=swapped[order].astype(np.int32),
        rows=small.codes.rows[order],
        codes=small.codes.codes[order],
    )
    assert check_golden(small.searcher(kept, other), golden)


def test_one_changed_code_of_a_golden_answer_is_noticed(small: SmallIndex) -> None:
    golden = ask_golden(small.searcher(False), small.queries, OperatingPoint(4, 0))
    codes = small.codes.codes.copy()
    codes[np.flatnonzero(small.codes.rows == golden.rows[3, 2])[0]] ^= 0xFF
    differences = check_golden(small.searcher(False, replace(small.codes, codes=codes)), golden)
    assert any(each.startswith("golden query 3: neighbour ") for each in differences)


def test_rows_that_are_equally_far_may_stand_for_each_other(tmp_path: Path) -> None:
    vectors = np.repeat(clustered(30, 12), 8, axis=0)
    write_flat(tmp_path / "i", vectors, "l2")
    searcher = Searcher([tmp_path / "i"], [], "l2")
    rows = np.arange(32)
    golden = ask_golden(searcher, VectorSample(rows.astype(np.uint64), rows, vectors[rows]), OperatingPoint(0, 0))
    other = golden.rows.copy()
    other[:, 8:] = other[:, 8:9] // 8 * 8 + [6, 7]  # The last two of the eight copies in place of the first two.
    assert not np.array_equal(other, golden.rows)
    assert check_golden(searcher, replace(golden, rows=other)) == []
    other[:, 0] = 239 - other[:, 0]
    assert len(check_golden(searcher, replace(golden, rows=other))) == 32


def test_fewer_rows_than_were_stored_are_noticed(tmp_path: Path) -> None:
    vectors = clustered(20, 12)
    for name, count in (("i", 20), ("few", 6)):
        write_flat(tmp_path / name, vectors[:count], "l2")
    queries = VectorSample(np.arange(5, dtype=np.uint64), np.arange(5), vectors[:5])
    golden = ask_golden(Searcher([tmp_path / "i"], [], "l2"), queries, OperatingPoint(0, 0))
    assert check_golden(Searcher([tmp_path / "few"], [], "l2"), golden) == [
        "the golden queries have 10 neighbours each, the index gives 6"
    ]


def test_the_same_answers_are_the_same_bytes_and_plain_numpy_reads_them(
    small: SmallIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = ask_golden(small.searcher(True), small.queries, POINT)
    write_golden(tmp_path / "one.npz", golden)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    write_golden(tmp_path / "two.npz", golden)
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("one.npz", "two.npz")}
    assert len(digests) == 1
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "one.npz", allow_pickle=False) as plain:
        np.testing.assert_array_equal(plain["rows"], golden.rows)


def test_a_damaged_file_is_named(small: SmallIndex, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, ask_golden(small.searcher(True), small.queries, POINT))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data in (bytes(flipped), whole[: len(whole) // 2], b"", b"{}"):
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=f"{path} is damaged"):
            read_golden(path)
    path.write_bytes(whole.replace(b'"schema_version": 1', b'"schema_version": 2'))
    with pytest.raises((IntegrityError, UsageError)):
        read_golden(path)
