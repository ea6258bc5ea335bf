"""Opened index files: what the codes propose.

An index of inverted lists may be in several files, each with all centroids and a range of the lists. Nothing is set on
an opened index, so threads share it: how to search goes with every search.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.searching.stored_search import nearest_first

# Queries, and lists of all queries, that are worked on at a time: what bounds the memory of a large batch.
_QUERIES_AT_ONCE = 256
_LISTS_AT_ONCE = 1 << 22
_LEAST_EF_SEARCH = 16
# Beyond this many times what was asked for, rows of equal codes are told apart by chance.
_TIES = 64


def load_flags(path: Path) -> tuple[str, ...]:
    """Names of the FAISS flags that map an index into memory as far as its kind can be: inverted lists, flat vectors
    and graphs can, 4-bit codes in blocks cannot."""
    with path.open("rb") as file:
        kind = file.read(4)
    # Two ways to map: lists as files of their own, which IVF understands, and arrays as views of the file.
    lists = kind.startswith(b"Iw") or kind in (b"IxPT", b"IxRF", b"IxMp")
    return ("IO_FLAG_MMAP", "IO_FLAG_READ_ONLY") if lists else ("IO_FLAG_MMAP_IFC",)


def read_index(path: Path, load_with: Sequence[str] | None = None) -> Any:
    """Opens an index with the FAISS flags of these names, those of `load_flags` if None."""
    library, flags = faiss(), 0
    for name in load_flags(path) if load_with is None else load_with:
        flags |= getattr(library, name)
    return library.read_index(str(path), flags)


def is_ivf(index: Any) -> bool:
    """Whether an index is inverted lists, with or without a transform of the vectors before them."""
    library = faiss()
    while isinstance(index, library.IndexPreTransform):
        index = library.downcast_index(index.index)
    return isinstance(index, library.IndexIVF)


class ListParts:
    """Inverted lists in one file or several."""

    def __init__(self, indexes: Sequence[Any], metric: str) -> None:
        library = faiss()
        self._indexes = indexes  # Which own what the rest of this object points to.
        self._parts = [library.downcast_index(library.extract_index_ivf(index)) for index in indexes]
        self._metric = metric
        self._transforms = _transforms(indexes[0])
        self._centroids = library.downcast_index(self._parts[0].quantizer)
        self.lists = int(self._parts[0].nlist)
        self.rows = sum(int(part.invlists.compute_ntotal()) for part in self._parts)

    def search(
        self, queries: np.ndarray, most: int, least: int, nprobe: int, ef_search: int, selector: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Candidates by code, from the `nprobe` lists nearest to each query.

        How the lists are shared between files changes nothing: the last of the `most`, of equal codes and not all of
        them, are left out, where that leaves `least`, and else the search asks for more.

        Args:
            queries: float32 [q, d], prepared.
            most: candidates at most.
            least: candidates wanted, if the lists hold as many.
            nprobe: lists to visit.
            ef_search: nodes of a graph over the centroids to visit; 0 for twice `nprobe`, and at least 16.
            selector: a FAISS selector of rows, None for all.

        Returns:
            rows int64 [q, most], -1 for none, and values float32 [q, most], in no order.
        """
        nprobe = max(1, min(nprobe, self.lists))
        at_once = max(1, min(_QUERIES_AT_ONCE, _LISTS_AT_ONCE // nprobe))
        rows = np.full((len(queries), most), -1, np.int64)
        values = np.zeros((len(queries), most), np.float32)
        for start in range(0, len(queries), at_once):
            block = slice(start, start + at_once)
            vectors = queries[block]
            for transform in self._transforms:
                vectors = transform.apply(vectors)
            nearest = self._nearest_lists(vectors, nprobe, ef_search)
            rows[block], values[block] = self._whole_ties(vectors, nearest, most, least, nprobe, selector)
        return rows, values

    def sizes(self) -> np.ndarray:
        """int64 [lists]: rows in each list, over all files."""
        return np.array(
            [[part.invlists.list_size(number) for number in range(self.lists)] for part in self._parts], np.int64
        ).sum(axis=0)

    def _nearest_lists(self, vectors: np.ndarray, nprobe: int, ef_search: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers int64 [q, nprobe] and distances float32 [q, nprobe] of the nearest lists."""
        library, centroids = faiss(), self._centroids
        if not isinstance(centroids, library.IndexHNSW):
            distances, numbers = centroids.search(vectors, nprobe)
        elif nprobe < self.lists:
            effort = library.SearchParametersHNSW(efSearch=ef_search or max(_LEAST_EF_SEARCH, 2 * nprobe))
            distances, numbers = centroids.search(vectors, nprobe, params=effort)
        else:  # The graph need not reach every list.
            distances, numbers = library.downcast_index(centroids.storage).search(vectors, nprobe)
        return numbers, distances

    def _whole_ties(
        self, vectors: np.ndarray, nearest: tuple[np.ndarray, np.ndarray], most: int, least: int, nprobe: int, sel: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, values, open_ones = self._once(vectors, nearest, most, least, nprobe, sel)
        asked = most
        while len(open_ones) and asked < min(self.rows, _TIES * most):
            asked *= 2
            some = nearest[0][open_ones], nearest[1][open_ones]
            more_rows, more_values, still = self._once(vectors[open_ones], some, asked, least, nprobe, sel)
            more_rows, more_values = nearest_first(more_rows, more_values, self._metric)
            rows[open_ones], values[open_ones] = more_rows[:, :most], more_values[:, :most]
            open_ones = open_ones[still]
        return rows, values

    def _once(
        self, vectors: np.ndarray, nearest: tuple[np.ndarray, np.ndarray], most: int, least: int, nprobe: int, sel: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """rows, values, and the numbers of the queries of which some ties at the end are missing."""
        library = faiss()
        effort = library.SearchParametersIVF(nprobe=nprobe, sel=sel)
        found = [_search_lists(part, vectors, most, nearest, effort) for part in self._parts]
        rows, values = found[0]
        if len(found) > 1:
            both = np.concatenate([each[0] for each in found], axis=1), np.concatenate([v for _, v in found], axis=1)
            rows, values = (each[:, :most] for each in nearest_first(*both, self._metric))
        full = rows[:, -1] >= 0
        if most >= self.rows:
            full[:] = False
        last = (values == values[:, -1:]) & full[:, None]
        enough = (~last & (rows >= 0)).sum(axis=1) >= least
        rows = np.where(last & enough[:, None], -1, rows)
        return rows, values, np.flatnonzero(full & ~enough)


def _transforms(index: Any) -> list[Any]:
    library, found = faiss(), []
    while isinstance(index, library.IndexPreTransform):
        found += [library.downcast_VectorTransform(index.chain.at(number)) for number in range(index.chain.size())]
        index = library.downcast_index(index.index)
    return found


def _search_lists(
    part: Any, vectors: np.ndarray, k: int, nearest: tuple[np.ndarray, np.ndarray], effort: Any
) -> tuple[np.ndarray, np.ndarray]:
    """`search_preassigned` with parameters, which its Python wrapper does not take."""
    pointer = faiss().swig_ptr
    vectors = np.ascontiguousarray(vectors, np.float32)
    numbers, distances = (np.ascontiguousarray(each) for each in nearest)
    values = np.empty((len(vectors), k), np.float32)
    rows = np.empty((len(vectors), k), np.int64)
    part.search_preassigned_c(
        len(vectors),
        pointer(vectors),
        k,
        pointer(numbers),
        pointer(distances),
        pointer(values),
        pointer(rows),
        False,
        effort,
    )
    return rows, values
