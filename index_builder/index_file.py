"""The index file, written front to back: a plain FAISS file, without the index ever being in memory.

FAISS stores inverted lists as `ilar`, the number of lists, the code size, `full`, the list sizes, and then for each
list its codes followed by its 64-bit ids (faiss/impl/index_write.cpp). Everything before comes from the trained, empty
index itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index_builder.codebook import Codes
from index_builder.faiss_import import faiss

_BYTES_AT_ONCE = 256 << 20


def write_ivf_index(
    path: Path,
    codebook: Any,
    parts: Sequence[tuple[Codes, np.ndarray]],
    bytes_at_once: int = _BYTES_AT_ONCE,
) -> None:
    """Writes codes as a FAISS index, list range by list range.

    Args:
        path: the file to write.
        codebook: the trained, empty FAISS index (IndexPreTransform over IndexIVF).
        parts: for each embedding file its codes, and int64 [rows] its row numbers, -1 for a row that does not count.
        bytes_at_once: codes and ids held in memory at a time.
    """
    library = faiss()
    inner = library.extract_index_ivf(codebook)
    lists, code_size = inner.nlist, inner.code_size
    sizes = np.zeros(lists, np.int64)
    for codes, numbers in parts:
        sizes += np.bincount(codes.lists[numbers[codes.rows] >= 0], minlength=lists)
    with path.open("wb") as file:
        file.write(_header(codebook, int(sizes.sum())))
        file.write(b"ilar" + struct.pack("<QQ", lists, code_size) + b"full" + struct.pack("<Q", lists))
        file.write(sizes.astype("<u8").tobytes())
        for first, last in _ranges(sizes * (code_size + 8), bytes_at_once):
            _write_lists(file, parts, sizes, first, last)


def _header(codebook: Any, rows: int) -> bytes:
    """The bytes of the index up to its inverted lists, with the number of rows that it will have."""
    library = faiss()
    counted = library.clone_index(codebook)
    counted.ntotal = rows
    library.extract_index_ivf(counted).ntotal = rows
    data = bytes(library.serialize_index(counted))
    return data[: data.rindex(b"ilar")]


def _ranges(list_bytes: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of lists of at most `most` bytes, or of one list."""
    first, held = 0, 0
    for number, size in enumerate(list_bytes.tolist()):
        if held and held + size > most:
            yield first, number
            first, held = number, 0
        held += size
    yield first, len(list_bytes)


def _write_lists(
    file: Any, parts: Sequence[tuple[Codes, np.ndarray]], sizes: np.ndarray, first: int, last: int
) -> None:
    """Writes the lists `first` to `last` - 1, each ordered by row number."""
    lists, ids, codes = [], [], []
    for part, numbers in parts:
        begin, end = np.searchsorted(part.lists, [first, last])
        row_numbers = numbers[part.rows[begin:end]]
        live = row_numbers >= 0
        lists.append(part.lists[begin:end][live])
        ids.append(row_numbers[live])
        codes.append(part.codes[begin:end][live])
    all_lists, all_ids = np.concatenate(lists), np.concatenate(ids)
    order = np.lexsort((all_ids, all_lists))
    all_ids, all_codes = all_ids[order], np.concatenate(codes)[order]
    start = 0
    for size in sizes[first:last].tolist():
        file.write(all_codes[start : start + size].tobytes())
        file.write(all_ids[start : start + size].astype("<i8").tobytes())
        start += size


def write_flat_index(path: Path, vectors: np.ndarray, metric: Any) -> None:
    """Writes a FAISS Flat index of float32 [n, d] vectors."""
    library = faiss()
    index = library.IndexFlat(vectors.shape[1], metric)
    index.add(np.ascontiguousarray(vectors, np.float32))
    library.write_index(index, str(path))
