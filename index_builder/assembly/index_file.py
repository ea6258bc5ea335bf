"""The index file, written front to back: a plain FAISS file, without the index ever being in memory.

FAISS stores a list after the other (faiss/impl/index_write.cpp). In `ilar`, each is its codes and then its 64-bit row
numbers, after the sizes of all; in `ilbl`, FastScan's, each is its row numbers and then its codes, packed in blocks of
32. Everything before comes from the trained, empty index itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from index_builder.assembly.runs import Run, merge_range
from index_builder.faiss_import import faiss
from index_builder.threads import single_threaded_math
from index_builder.training.codebook import Codebook

# A range of lists is held as it was read, as it is merged, and as it is written.
_COPIES = 4


def write_ivf_index(
    path: Path,
    codebook: Codebook,
    fastscan: bool,
    runs: Sequence[Run],
    list_sizes: np.ndarray,
    lists: tuple[int, int],
    memory: int,
) -> None:
    """Writes a range of lists as a FAISS index; the other lists are empty.

    Args:
        path: the file to write.
        codebook: trained.
        fastscan: whether 4-bit codes are packed for FastScan.
        runs: all codes, in the order of their row numbers.
        list_sizes: int64 [lists], rows in each list of all runs together.
        lists: the first list, and the one after the last.
        memory: bytes for the codes and row numbers of the lists that are merged at a time; one list is always held.
    """
    first, last = lists
    sizes = list_sizes.copy()
    sizes[:first] = 0
    sizes[last:] = 0
    width = codebook.inner.code_size
    with path.open("wb") as file:
        file.write(_header(codebook, int(sizes.sum()), fastscan))
        body = _PackedLists(file, codebook) if fastscan else _PlainLists(file, sizes, width)
        body.skip(first)
        for begin, end in ranges(sizes[first:last] * (width + 8), memory // _COPIES):
            body.write(*merge_range(runs, first + begin, first + end))
        body.skip(len(sizes) - last)


def _header(codebook: Codebook, rows: int, fastscan: bool) -> bytes:
    """The bytes of the index up to its inverted lists, with the number of rows that it will have."""
    library = faiss()
    counted = library.clone_index(codebook.index)
    if fastscan:
        data = _serialized_fastscan(counted, rows)
        return data[: data.rindex(b"ilbl")]
    counted.ntotal = rows
    library.extract_index_ivf(counted).ntotal = rows
    data = bytes(library.serialize_index(counted))
    return data[: data.rindex(b"ilar")]


def _serialized_fastscan(index: Any, rows: int) -> bytes:
    """An IVF-PQ index of 4 bits, below a rotation or not, as FAISS stores it with its lists packed for FastScan."""
    library = faiss()
    packed = library.IndexIVFPQFastScan(library.downcast_index(library.extract_index_ivf(index)))
    packed.own_fields = False  # Its quantizer is that of `index`, which lives until the end of this function.
    packed.ntotal = rows
    outer = library.downcast_index(index)
    if not isinstance(outer, library.IndexPreTransform):
        return bytes(library.serialize_index(packed))
    whole = library.IndexPreTransform(library.downcast_VectorTransform(outer.chain.at(0)), packed)
    whole.is_trained = True
    whole.ntotal = rows
    return bytes(library.serialize_index(whole))


def ranges(list_bytes: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of lists of at most `most` bytes, or of one list."""
    first, held = 0, 0
    for number, size in enumerate(list_bytes.tolist()):
        if held and held + size > most:
            yield first, number
            first, held = number, 0
        held += size
    yield first, len(list_bytes)


class _PlainLists:
    """`ilar`."""

    def __init__(self, file: BinaryIO, sizes: np.ndarray, width: int) -> None:
        self._file = file
        file.write(b"ilar" + struct.pack("<QQ", len(sizes), width) + b"full" + struct.pack("<Q", len(sizes)))
        file.write(sizes.astype("<u8").tobytes())

    def skip(self, lists: int) -> None:
        """Empty lists take no bytes after the sizes."""

    def write(self, sizes: np.ndarray, codes: np.ndarray, numbers: np.ndarray) -> None:
        start = 0
        for size in sizes.tolist():
            self._file.write(codes[start : start + size].data)
            self._file.write(numbers[start : start + size].data)
            start += size


class _PackedLists:
    """`ilbl`."""

    def __init__(self, file: BinaryIO, codebook: Codebook) -> None:
        self._file = file
        self._codebook = codebook
        empty = _serialized_fastscan(codebook.inner, 0)
        start = empty.rindex(b"ilbl")
        # After the four letters: lists, code size, codes in a block, bytes of a block; then the lists.
        self._file.write(empty[start : start + 4 + 4 * 8])

    def skip(self, lists: int) -> None:
        self._file.write(struct.pack("<QQ", 0, 0) * lists)

    def write(self, sizes: np.ndarray, codes: np.ndarray, numbers: np.ndarray) -> None:
        """FAISS packs the lists itself, in an index of these lists and no others."""
        library, inner = faiss(), self._codebook.inner
        quantizer = library.IndexFlat(inner.d, inner.metric_type)
        part = library.IndexIVFPQ(quantizer, inner.d, len(sizes), inner.pq.M, inner.pq.nbits, inner.metric_type)
        part.pq = inner.pq
        part.is_trained = True
        start = 0
        for number, size in enumerate(sizes.tolist()):
            if size:
                ids, packed = (np.ascontiguousarray(each[start : start + size]) for each in (numbers, codes))
                part.invlists.add_entries(number, size, library.swig_ptr(ids), library.swig_ptr(packed))
                start += size
        part.ntotal = start
        data = _serialized_fastscan(part, start)
        self._file.write(memoryview(data)[data.index(_blocks_header(len(sizes))) + 4 + 4 * 8 :])


def _blocks_header(lists: int) -> bytes:
    """How the lists of an index of `lists` lists begin."""
    return b"ilbl" + struct.pack("<Q", lists)


def write_flat_index(path: Path, blocks: Iterable[np.ndarray], rows: int, dimension: int, metric: Any) -> None:
    """Writes float32 [n, dimension] blocks, `rows` rows together, as a FAISS Flat index."""
    library = faiss()
    empty = library.IndexFlat(dimension, metric)
    empty.ntotal = rows
    data = bytes(library.serialize_index(empty))
    with path.open("wb") as file:
        # What follows the header is a vector of floats; that of an empty index is its length, 0.
        file.write(data[:-8] + struct.pack("<Q", rows * dimension))
        for block in blocks:
            file.write(np.ascontiguousarray(block, np.float32).data)


def write_whole_index(path: Path, blocks: Iterable[np.ndarray], sample: np.ndarray, factory: str, metric: Any) -> None:
    """Trains and fills any index that FAISS's factory knows, in memory, and writes it.

    Args:
        path: the file to write.
        blocks: float32 [n, d], prepared, in row order.
        sample: float32 [n, d] to train on.
        factory: FAISS factory string.
        metric: FAISS's constant.
    """
    library = faiss()
    index = library.index_factory(sample.shape[1], factory, metric)
    with single_threaded_math:
        index.train(sample)
    before = library.omp_get_max_threads()
    library.omp_set_num_threads(1)  # The order in which a graph is linked decides its bytes.
    try:
        for block in blocks:
            index.add(np.ascontiguousarray(block, np.float32))
    finally:
        library.omp_set_num_threads(before)
    library.write_index(index, str(path))
