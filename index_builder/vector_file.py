"""`vectors.npy`: the vectors of a version in row order, as the index measures them (of unit length for cosine), for
exact re-ranking and for search by item. A plain NumPy file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_vectors(path: Path, parts: Iterable[np.ndarray], rows: int, dimension: int, vector_type: str) -> None:
    """Writes [rows, dimension] vectors as float16 or float32, a part at a time."""
    vectors = np.lib.format.open_memmap(path, "w+", np.dtype(vector_type), (rows, dimension))
    start = 0
    for part in parts:
        vectors[start : start + len(part)] = part
        start += len(part)
    if start != rows:
        raise ValueError(f"{start} vectors were given, expected {rows}")
    vectors.flush()


def open_vectors(path: Path) -> np.ndarray:
    """The vectors, memory-mapped."""
    return np.load(path, mmap_mode="r")
