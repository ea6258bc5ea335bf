"""`vectors.npy`: the vectors of a version in row order, as the index measures them (of unit length for cosine), for
exact re-ranking and for search by item. Plain NumPy files, one or one for each range of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


def write_vectors(path: Path, parts: Iterable[np.ndarray], rows: int, dimension: int, vector_type: str) -> None:
    """Writes [rows, dimension] vectors as float16 or float32, a part at a time."""
    dtype, written = np.dtype(vector_type), 0
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)
            written += len(part)
    if written != rows:
        raise ValueError(f"{written} vectors were given, expected {rows}")


def open_vectors(path: Path) -> np.ndarray:
    """The vectors of one file, memory-mapped."""
    return np.load(path, mmap_mode="r")


class StoredVectors:
    """The vectors of all rows, in one array or several, each the rows after those of the one before. Nothing in it
    changes once it is made, so threads share it."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = [np.asarray(part) for part in parts]
        self.offsets = np.concatenate([[0], np.cumsum([len(part) for part in self.parts])])

    @classmethod
    def open(cls, paths: Sequence[Path]) -> StoredVectors:
        """Memory-maps the files, which are given in row order."""
        return cls([open_vectors(path) for path in paths])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def dimension(self) -> int:
        """Of each vector."""
        return int(self.parts[0].shape[1])

    @property
    def dtype(self) -> np.dtype:
        """That they are stored as."""
        return self.parts[0].dtype

    def take(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, d] of int64 [n] rows in rising order, read front to back."""
        cuts = np.searchsorted(rows, self.offsets)
        taken = np.empty((len(rows), self.dimension), np.float32)
        for number, part in enumerate(self.parts):
            begin, end = int(cuts[number]), int(cuts[number + 1])
            if begin < end:
                taken[begin:end] = part[rows[begin:end] - self.offsets[number]]
        return taken
