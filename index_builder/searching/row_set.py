"""Sets of row numbers, and the rows that a search may find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from index_builder.faiss_import import faiss

# Up to a row in 64, a list of 64-bit numbers is smaller than a bit for every row.
_SPARSE = 64


@dataclass(frozen=True)
class RowSet:
    """Some of the rows 0 to `total` - 1: a list where they are few, else a bit for every row.

    Attributes:
        total: rows that there are.
        count: rows in the set.
        rows: int64 [count] in rising order; None where there are bits.
        bits: uint8 [(total + 7) // 8], row r being bit r % 8 of byte r // 8; None where there is a list.
    """

    total: int
    count: int
    rows: np.ndarray | None
    bits: np.ndarray | None

    @classmethod
    def of_rows(cls, rows: np.ndarray, total: int) -> RowSet:
        """Of row numbers in any order, also repeated."""
        rows = np.unique(np.asarray(rows, np.int64))
        if len(rows) * _SPARSE <= total:
            return cls(total, len(rows), rows, None)
        bits = np.zeros((total + 7) // 8, np.uint8)
        np.bitwise_or.at(bits, rows >> 3, (1 << (rows & 7)).astype(np.uint8))
        return cls(total, len(rows), None, bits)

    @classmethod
    def of_bits(cls, bits: np.ndarray, total: int) -> RowSet:
        """Of bits, which are not changed any more."""
        count = int(np.bitwise_count(bits).sum(dtype=np.int64))
        if count * _SPARSE > total:
            return cls(total, count, None, bits)
        return cls(total, count, _rows_of(bits), None)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return int((self.rows if self.rows is not None else self._bits()).nbytes)

    def list_rows(self) -> np.ndarray:
        """int64 [count] in rising order."""
        return self.rows if self.rows is not None else _rows_of(self._bits())

    def has(self, rows: np.ndarray) -> np.ndarray:
        """bool [n]: which of int64 [n] rows are in the set."""
        if self.rows is not None:
            return np.isin(rows, self.rows)
        return (self._bits()[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1

    def union(self, other: RowSet) -> RowSet:
        """The rows of either."""
        if self.rows is not None and other.rows is not None:
            return RowSet.of_rows(np.concatenate([self.rows, other.rows]), self.total)
        return RowSet.of_bits(self._as_bits() | other._as_bits(), self.total)

    def intersection(self, other: RowSet) -> RowSet:
        """The rows of both."""
        for few, others in ((self, other), (other, self)):
            if few.rows is not None:
                rows = few.rows[others.has(few.rows)]
                return RowSet(self.total, len(rows), rows, None)
        return RowSet.of_bits(self._bits() & other._bits(), self.total)

    def selector(self) -> Any:
        """A FAISS selector of these rows."""
        library = faiss()
        return library.IDSelectorBatch(self.rows) if self.rows is not None else library.IDSelectorBitmap(self._bits())

    def _bits(self) -> np.ndarray:
        assert self.bits is not None
        return self.bits

    def _as_bits(self) -> np.ndarray:
        if self.rows is None:
            return self._bits()
        bits = np.zeros((self.total + 7) // 8, np.uint8)
        np.bitwise_or.at(bits, self.rows >> 3, (1 << (self.rows & 7)).astype(np.uint8))
        return bits


def _rows_of(bits: np.ndarray) -> np.ndarray:
    filled = np.flatnonzero(bits)
    places = np.unpackbits(bits[filled, None], axis=1, bitorder="little")
    byte, bit = np.nonzero(places)
    return (filled[byte] << 3) + bit


@dataclass(frozen=True)
class RowFilter:
    """The rows that a search may find.

    Attributes:
        total: rows that there are.
        allowed: those that may be found; all if None.
        blocked: int64 in rising order, those that may not.
    """

    total: int
    allowed: RowSet | None
    blocked: np.ndarray

    @property
    def count(self) -> int:
        """How many may be found."""
        if self.allowed is None:
            return self.total - len(self.blocked)
        return self.allowed.count - int(self.allowed.has(self.blocked).sum())

    def has(self, row: int) -> bool:
        """Whether a row may be found."""
        rows = np.array([row], np.int64)
        return not np.isin(row, self.blocked) and (self.allowed is None or bool(self.allowed.has(rows)[0]))

    def list_rows(self) -> np.ndarray:
        """int64 [count] in rising order."""
        rows = np.arange(self.total) if self.allowed is None else self.allowed.list_rows()
        return rows[~np.isin(rows, self.blocked)] if len(self.blocked) else rows

    def selector(self) -> Any:
        """A FAISS selector of these rows."""
        library = faiss()
        if len(self.blocked) == 0:
            return library.IDSelectorAll() if self.allowed is None else self.allowed.selector()
        others = library.IDSelectorNot(library.IDSelectorBatch(self.blocked))
        return others if self.allowed is None else library.IDSelectorAnd(self.allowed.selector(), others)
