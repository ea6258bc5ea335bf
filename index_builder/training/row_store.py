"""Rows of vectors that a trainer walks over: in memory while they are few, in a scratch file when they are not.

A scratch file is read and written with plain reads and writes, not mapped: mapped pages count as the process's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

#: Rows that are read, rotated and assigned at a time.
BLOCK = 8_192


class RowStore:
    """float32 [rows, dimension], written once, front to back or at places, and read in blocks."""

    def __init__(self, path: Path | None, rows: int, dimension: int) -> None:
        """
        Args:
            path: the scratch file; None holds the rows in memory.
            rows, dimension: how large it will be.
        """
        self.rows = rows
        self.dimension = dimension
        self._width = 4 * dimension
        self._file: BinaryIO | None = None
        self._memory = np.empty((rows if path is None else 0, dimension), np.float32)
        if path is not None:
            self._file = path.open("w+b", buffering=0)
            self._file.truncate(rows * self._width)
            path.unlink()  # It lives as long as it is open, and no kill leaves it behind.

    def write(self, start: int, block: np.ndarray) -> None:
        """Puts float32 [n, dimension] at row `start`."""
        if self._file is None:
            self._memory[start : start + len(block)] = block
            return
        if len(block) == 0:
            return
        self._file.seek(start * self._width)
        data = np.ascontiguousarray(block, np.float32).data.cast("B")
        while data:
            data = data[self._file.write(data) :]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows `start` to `stop` - 1, float32."""
        if self._file is None or start == stop:
            return self._memory[start:stop]
        block = np.empty((stop - start, self.dimension), np.float32)
        self._file.seek(start * self._width)
        data = block.data.cast("B")
        while data:
            data = data[self._file.readinto(data) :]  # type: ignore[attr-defined]
        return block

    def blocks(self, rows: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """All rows, `rows` at a time, each with its first row's number."""
        for start in range(0, self.rows, rows):
            yield start, self.read(start, min(start + rows, self.rows))

    def evenly(self, most: int) -> np.ndarray:
        """At most `most` rows, spread evenly over all."""
        if self.rows <= most:
            return self.read(0, self.rows)
        picked = np.linspace(0, self.rows - 1, most).astype(np.int64)
        if self._file is None:
            return self._memory[picked]
        return np.concatenate([self.read(row, row + 1) for row in picked.tolist()])


def grouped(rows: RowStore, groups: np.ndarray, count: int, path: Path | None) -> tuple[RowStore, np.ndarray]:
    """The rows in the order of their groups, inside a group as they were.

    Args:
        rows: to order.
        groups: int [rows], each row's group.
        count: of groups.
        path: a scratch file for them, None for memory.

    Returns:
        The rows, and int64 [count + 1] where each group begins.
    """
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=count))]).astype(np.int64)
    ordered = RowStore(path, rows.rows, rows.dimension)
    place = starts[:-1].copy()
    for start, block in rows.blocks(16 * BLOCK):
        mine = groups[start : start + len(block)]
        order = np.argsort(mine, kind="stable")
        present, first, sizes = np.unique(mine[order], return_index=True, return_counts=True)
        for group, begin, size in zip(present.tolist(), first.tolist(), sizes.tolist(), strict=True):
            ordered.write(int(place[group]), block[order[begin : begin + size]])
            place[group] += size
    return ordered, starts
