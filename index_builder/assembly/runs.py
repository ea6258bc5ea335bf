"""Runs: the codes of some millions of rows, ordered by list, between encoding and assembly.

An index of lists is a sort of codes by list. Code files are small, and an assembler that took its range of lists out of
each would issue millions of small reads; so code files are merged into runs as large as memory allows, and a range of
lists is read from each run in one piece.

A run is, with little-endian numbers of 64 bits, `CIRUN002`, the lists, the rows, the bytes of a code, and the CRC-32 of
these; then [lists + 1, 2] where each list begins and its CRC-32, that of its codes and then of its row numbers; then
uint8 [rows, code bytes], and [rows] row numbers, which ascend inside a list.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from isal import isal_zlib

from catalog import storage
from catalog.errors import IntegrityError
from index_builder.training.codebook import Codes

_MAGIC = b"CIRUN002"
_FIELDS = struct.Struct("<8sQQQ")
_CHECK = struct.Struct("<Q")
_HEADER_BYTES = _FIELDS.size + _CHECK.size
_WORD = np.dtype("<i8")
# Of a list in the table: where it begins, and its checksum.
_ENTRY_BYTES = 16


def write_run(url: str, lists: int, width: int, parts: Iterable[tuple[Codes, np.ndarray]]) -> None:
    """Merges codes into a run.

    Args:
        url: where to.
        lists: of the index.
        width: bytes of a code.
        parts: for each embedding file its codes, and int64 [rows] its row numbers, -1 for a row that does not count.
    """
    owners, numbers, codes = [np.empty(0, np.int32)], [np.empty(0, np.int64)], []
    for part, row_numbers in parts:
        mine = row_numbers[part.rows]
        live = mine >= 0
        if live.all():
            owners.append(part.lists)
            numbers.append(mine)
            codes.append(part.codes)
        else:
            owners.append(part.lists[live])
            numbers.append(mine[live])
            codes.append(part.codes[live])
    all_owners, all_numbers = np.concatenate(owners), np.concatenate(numbers)
    order = np.lexsort((all_numbers, all_owners))
    table = np.zeros((lists + 1, 2), _WORD)
    np.cumsum(np.bincount(all_owners, minlength=lists), out=table[1:, 0])
    sorted_codes = np.concatenate(codes)[order] if codes else np.empty((0, width), np.uint8)
    sorted_numbers = all_numbers[order].astype(_WORD, copy=False)
    table[:-1, 1] = _checksums(table[:, 0], sorted_codes, sorted_numbers)
    fields = _FIELDS.pack(_MAGIC, lists, len(order), width)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / "run"
        with path.open("wb") as file:
            file.write(fields + _CHECK.pack(isal_zlib.crc32(fields)))
            for array in (table, sorted_codes, sorted_numbers):
                file.write(array.data)
        storage.put_file(path, url)


def _checksums(starts: np.ndarray, codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """int64 [lists]: the CRC-32 of each list, 0 of an empty one.

    Args:
        starts: int64 [lists + 1], where each list begins in the run.
        codes: uint8 [n, code bytes] of these lists.
        numbers: int64 [n], their row numbers.
    """
    begins, checks = (starts - starts[0]).tolist(), np.zeros(len(starts) - 1, np.int64)
    for each in np.flatnonzero(np.diff(starts)).tolist():
        rows = slice(begins[each], begins[each + 1])
        checks[each] = isal_zlib.crc32(numbers[rows], isal_zlib.crc32(codes[rows]))
    return checks


class Run:
    """A stored run; each read is of one contiguous piece, and whole lists are checked as they are read."""

    def __init__(self, url: str) -> None:
        self._url = url
        header = storage.read_range(url, 0, _HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[: len(_MAGIC)] != _MAGIC:
            raise self._damaged("it is not a run of codes")
        fields = header[: _FIELDS.size]
        if _CHECK.unpack(header[_FIELDS.size :]) != (isal_zlib.crc32(fields),):
            raise self._damaged("its header does not match its checksum")
        _, self._lists, self._rows, self._width = _FIELDS.unpack(fields)

    def sizes(self) -> np.ndarray:
        """int64 [lists]: rows in each list."""
        return np.diff(self._table(0, self._lists)[:, 0])

    def read(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lists `first` to `last` - 1: int64 [last - first] sizes, uint8 [n, code bytes], int64 [n] row numbers."""
        table = self._table(first, last)
        starts = table[:, 0]
        begin, count = int(starts[0]), int(starts[-1] - starts[0])
        codes_at = _HEADER_BYTES + _ENTRY_BYTES * (self._lists + 1)
        codes = self._piece(codes_at + begin * self._width, count * self._width, np.dtype(np.uint8))
        codes = codes.reshape(count, self._width)
        numbers = self._piece(codes_at + self._rows * self._width + 8 * begin, 8 * count, _WORD)
        wrong = np.flatnonzero(_checksums(starts, codes, numbers) != table[:-1, 1])
        if len(wrong):
            raise self._damaged(f"list {first + int(wrong[0])} does not match its checksum")
        return np.diff(starts), codes, numbers

    def _table(self, first: int, last: int) -> np.ndarray:
        """int64 [last - first + 1, 2]: where lists begin, and their checksums; of the one after the last, its begin."""
        size = _ENTRY_BYTES * (last - first + 1)
        table = self._piece(_HEADER_BYTES + _ENTRY_BYTES * first, size, _WORD).reshape(-1, 2)
        bounds = np.concatenate([[0], table[:, 0], [self._rows]])
        if (bounds[1:] < bounds[:-1]).any():
            raise self._damaged("its lists do not follow one another")
        return table

    def _piece(self, offset: int, size: int, dtype: np.dtype) -> np.ndarray:
        data = storage.read_range(self._url, offset, size)
        if len(data) != size:
            raise self._damaged("it ends too early")
        return np.frombuffer(data, dtype)

    def _damaged(self, why: str) -> IntegrityError:
        return IntegrityError(f"{self._url} is damaged: {why}; delete it and run again")


def list_sizes(runs: Sequence[Run]) -> np.ndarray:
    """int64 [lists]: rows in each list of all runs together."""
    return np.sum([run.sizes() for run in runs], axis=0)


def merge_range(runs: Sequence[Run], first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists `first` to `last` - 1 of all runs together, as `Run.read` gives them.

    Runs come in the order of their row numbers, so rows ascend inside a list without being sorted again.
    """
    pieces = [run.read(first, last) for run in runs]
    sizes = np.array([piece[0] for piece in pieces])
    totals = sizes.sum(axis=0)
    # Where each run's share of each list goes: after those of the runs before.
    places = np.cumsum(sizes, axis=0) - sizes + (np.cumsum(totals) - totals)
    rows, width = int(totals.sum()), pieces[0][1].shape[1]
    codes, numbers = np.empty((rows, width), np.uint8), np.empty(rows, np.int64)
    for (size, part_codes, part_numbers), place in zip(pieces, places, strict=True):
        begins = np.cumsum(size) - size
        target = np.repeat(place - begins, size) + np.arange(len(part_numbers))
        codes[target], numbers[target] = part_codes, part_numbers
    return totals, codes, numbers
