from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError
from index_builder.assembly.runs import Run, list_sizes, merge_range, write_run
from index_builder.training.codebook import Codes

LISTS, WIDTH = 9, 3


def codes_of(rng: np.random.Generator, rows: int) -> Codes:
    lists = np.sort(rng.integers(0, LISTS, rows)).astype(np.int32)
    return Codes(lists, rng.permutation(rows).astype(np.int32), rng.integers(0, 256, (rows, WIDTH)).astype(np.uint8))


def numbers_of(rng: np.random.Generator, rows: int, first: int) -> np.ndarray:
    """Row numbers of a file, some rows of which do not count."""
    numbers = np.full(rows, -1, np.int64)
    alive = rng.random(rows) < 0.8
    numbers[alive] = first + rng.permutation(int(alive.sum()))
    return numbers


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=4))
def test_merged_runs_hold_every_row_that_counts_once_in_its_list_in_row_order(
    seed: int, files: list[list[int]]
) -> None:
    rng, wanted, runs, first = np.random.default_rng(seed), [], [], 0
    for number, sizes in enumerate(files):
        parts = []
        for rows in sizes:
            codes, numbers = codes_of(rng, rows), numbers_of(rng, rows, first)
            first += rows
            parts.append((codes, numbers))
            wanted += [
                (int(owner), int(numbers[row]), code.tobytes())
                for owner, row, code in zip(codes.lists, codes.rows, codes.codes, strict=True)
                if numbers[row] >= 0
            ]
        write_run(f"memory://runs/{seed}/{number}", LISTS, WIDTH, parts)
        runs.append(Run(f"memory://runs/{seed}/{number}"))
    for begin, end in ((0, LISTS), (2, 5), (LISTS - 1, LISTS)):
        sizes, codes, numbers = merge_range(runs, begin, end)
        owners = np.repeat(np.arange(begin, end), sizes)
        found = [(int(a), int(b), c.tobytes()) for a, b, c in zip(owners, numbers, codes, strict=True)]
        assert found == sorted(row for row in wanted if begin <= row[0] < end)
    np.testing.assert_array_equal(list_sizes(runs), np.bincount([row[0] for row in wanted], minlength=LISTS))


def test_a_range_of_lists_is_read_in_three_pieces_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    write_run(str(tmp_path / "run"), LISTS, WIDTH, [(codes_of(rng, 500), np.arange(500)) for _ in range(1)])
    run, ranges, real = Run(str(tmp_path / "run")), [], storage.read_range
    monkeypatch.setattr(storage, "read_range", lambda *given: ranges.append(given) or real(*given))
    monkeypatch.setattr(storage, "open_read", None)  # Which may read ahead.
    sizes = run.read(2, 7)[0]
    assert [length for _, _, length in ranges] == [6 * 16, int(sizes.sum()) * WIDTH, int(sizes.sum()) * 8]


def test_a_run_that_is_cut_or_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write_run(str(path), LISTS, WIDTH, [(codes_of(np.random.default_rng(0), 50), np.arange(50))])
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match="run is damaged: it ends too early"):
        Run(str(path)).read(0, LISTS)
    path.write_bytes(b"PAR1" + data[4:])
    with pytest.raises(IntegrityError, match="it is not a run of codes"):
        Run(str(path))


def read_all(url: str) -> tuple[list[bytes], list[list[int]]]:
    """All of a run as a build reads it: the sizes of all lists, and then some lists at a time."""
    run = Run(url)
    sizes, pieces = run.sizes(), [run.read(first, first + 3) for first in range(0, LISTS, 3)]
    return [sizes.tobytes(), *(codes.tobytes() for _, codes, _ in pieces)], [rows.tolist() for *_, rows in pieces]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.data())
def test_any_flipped_bit_of_a_run_is_found_where_it_matters(seed: int, rows: int, data: st.DataObject) -> None:
    url, rng = "memory://runs/flipped", np.random.default_rng(seed)
    write_run(url, LISTS, WIDTH, [(codes_of(rng, rows), numbers_of(rng, rows, 100))])
    whole, right = storage.read_bytes(url), read_all(url)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    storage.write(url, bytes(flipped))
    try:
        found = read_all(url)
    except IntegrityError as error:
        assert str(error).startswith("memory://runs/flipped is damaged: ")  # noqa: PT017
        assert str(error).endswith("; delete it and run again")  # noqa: PT017
    else:  # The last entry of the table has no checksum: no list begins there.
        assert found == right
        assert bit // 8 in range(40 + 16 * LISTS + 8, 40 + 16 * (LISTS + 1))


def test_a_run_that_cannot_be_written_leaves_nothing_on_the_local_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parts = [(codes_of(np.random.default_rng(0), 50_000), np.arange(50_000))]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))  # As a disk that is full.
    try:
        with pytest.raises(OSError, match="File too large"):
            write_run("memory://runs/full", LISTS, WIDTH, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
