"""`vectors.npy`: the vectors of a version in row order, as the index measures them (of unit length for cosine), for
exact re-ranking and for search by item. A plain NumPy file."""

from __future__ import annotations

from collections.abc import Iterable
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
    """The vectors, memory-mapped."""
    return np.load(path, mmap_mode="r")
