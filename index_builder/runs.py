"""Runs: the codes of some millions of rows, ordered by list, between encoding and assembly.

An index of lists is a sort of codes by list. Code files are small, and an assembler that took its range of lists out of
each would issue millions of small reads; so code files are merged into runs as large as memory allows, and a range of
lists is read from each run in one piece. A run is `CIRUN001`, then as little-endian 64-bit numbers the lists, the rows
and the bytes of a code, then int64 [lists + 1] where each list begins, uint8 [rows, code bytes], and int64 [rows] row
numbers, which ascend inside a list.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from catalog import storage
from catalog.errors import IntegrityError
from index_builder.codebook import Codes

_MAGIC = b"CIRUN001"
_HEADER = struct.Struct("<8sQQQ")


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
    starts = np.concatenate([[0], np.cumsum(np.bincount(all_owners, minlength=lists))])
    with tempfile.NamedTemporaryFile(prefix="catalog-indexer-", delete=False) as file:
        path = Path(file.name)
        file.write(_HEADER.pack(_MAGIC, lists, len(order), width))
        file.write(starts.astype("<i8").tobytes())
        file.write(np.concatenate(codes)[order].data if codes else b"")
        file.write(all_numbers[order].astype("<i8", copy=False).data)
    try:
        storage.put_file(path, url)
    finally:
        path.unlink(missing_ok=True)


class Run:
    """A stored run; each read is of one contiguous piece."""

    def __init__(self, url: str) -> None:
        self._url = url
        with storage.open_read(url) as file:
            header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or header[: len(_MAGIC)] != _MAGIC:
            raise IntegrityError(f"{url} is damaged: it is not a run of codes; delete it and run again")
        _, self._lists, self._rows, self._width = _HEADER.unpack(header)

    def sizes(self) -> np.ndarray:
        """int64 [lists]: rows in each list."""
        return np.diff(self._starts(0, self._lists))

    def read(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lists `first` to `last` - 1: int64 [last - first] sizes, uint8 [n, code bytes], int64 [n] row numbers."""
        starts = self._starts(first, last)
        begin, count = int(starts[0]), int(starts[-1] - starts[0])
        codes_at = _HEADER.size + 8 * (self._lists + 1)
        codes = self._piece(codes_at + begin * self._width, count * self._width, np.uint8)
        numbers = self._piece(codes_at + self._rows * self._width + 8 * begin, 8 * count, np.dtype("<i8"))
        return np.diff(starts), codes.reshape(count, self._width), numbers

    def _starts(self, first: int, last: int) -> np.ndarray:
        return self._piece(_HEADER.size + 8 * first, 8 * (last - first + 1), np.dtype("<i8"))

    def _piece(self, offset: int, size: int, dtype: np.dtype | type) -> np.ndarray:
        with storage.open_read(self._url) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise IntegrityError(f"{self._url} is damaged: it ends too early; delete it and run again")
        return np.frombuffer(data, dtype)


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
