"""Search of one opened version: the codes propose, the stored vectors decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import UsageError
from index_builder.faiss_import import faiss
from index_builder.measures import prepare
from index_builder.searching.index_parts import ListParts, is_ivf, read_index
from index_builder.searching.row_set import RowFilter
from index_builder.searching.stored_search import measure, nearest_first, nearest_of, worst
from index_builder.searching.vector_file import StoredVectors


@dataclass(frozen=True)
class OperatingPoint:
    """How hard to search.

    Attributes:
        nprobe: inverted lists visited; 0 for an index that has none.
        rerank: candidates for each neighbour asked for, put in order by their stored vectors; 0 for none.
        ef_search: nodes visited of a graph, over the centroids or over the vectors; 0 for twice `nprobe`, or what the
            index file says.
    """

    nprobe: int
    rerank: int
    ef_search: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> OperatingPoint:
        """From an object that may have other fields, such as what was measured at the point."""
        return cls(**{field.name: int(value[field.name]) for field in fields(cls) if field.name in value})


# Fewer candidates than this are no cheaper.
_LEAST_CANDIDATES = 100
# Candidates beyond those asked for where none are put in order by vectors: most ties of equal codes end in them.
_SPARE = 6
# Up to this many allowed rows, their vectors are compared instead of codes: as fast, and exact.
EXACT_ROWS = 8_192


class Searcher:
    """The index files of a version and, where it has them, its vectors. Safe to use from many threads at once.

    Args:
        index_paths: one FAISS file, or the parts of an index of inverted lists; a consumer may leave parts out.
        vector_paths: the vectors in row order, in one file or several; empty where a version has none.
        metric: one of `catalog.encoder_info.METRICS`.
        load_with: names of the FAISS flags to open the index files with, as a manifest has them; what is best for them
            if None.
    """

    def __init__(
        self,
        index_paths: Sequence[Path],
        vector_paths: Sequence[Path],
        metric: str,
        load_with: Sequence[str] | None = None,
    ) -> None:
        indexes = [read_index(path, load_with) for path in index_paths]
        self._index = indexes[0]
        self._lists = ListParts(indexes, metric) if is_ivf(indexes[0]) else None
        if self._lists is None and len(indexes) > 1:
            raise UsageError(f"{index_paths[0]} has no inverted lists; only an index of lists is in several files")
        self._metric = metric
        self._reranks = bool(vector_paths)
        self._stored = StoredVectors.open(vector_paths) if vector_paths else _vectors_inside(self._index)

    @property
    def rows(self) -> int:
        """Vectors in the opened index files."""
        return self._lists.rows if self._lists is not None else int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Of the vectors that it is asked with."""
        return int(self._index.d)

    @property
    def stored(self) -> StoredVectors | None:
        """The vectors, in row order, as long as this object lives; None where the version stores codes only."""
        return self._stored

    def vector(self, row: int) -> np.ndarray | None:
        """float32 [d] of a row; None where the version stores codes only."""
        return None if self._stored is None else self._stored.take(np.array([row]))[0]

    def list_sizes(self) -> np.ndarray:
        """int64 [lists]: rows in each inverted list; empty where the index has none."""
        return self._lists.sizes() if self._lists is not None else np.empty(0, np.int64)

    def search(
        self, queries: np.ndarray, k: int, point: OperatingPoint, selector: RowFilter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each query.

        Args:
            queries: [q, d].
            k: neighbours.
            point: how hard to look. Where the lists hold fewer than `k`, the search goes on to more lists.
            selector: the rows that may be found; all if None. Few are compared one by one with their stored vectors,
                whatever the point.

        Returns:
            rows int64 [q, k], nearest first, of equals the lower row, and -1 where there are no more; values float32
            [q, k], as FAISS measures. Where the index has fewer than k rows, it is all of them.

        Raises:
            UsageError: this kind of index cannot leave rows out.
        """
        queries = prepare(queries, self._metric)
        k = min(k, self.rows)
        wanted = k if selector is None else min(k, selector.count)
        if len(queries) == 0 or wanted == 0:
            return np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), worst(self._metric), np.float32)
        if selector is not None and self._stored is not None and selector.count <= EXACT_ROWS:
            return nearest_of(queries, selector.list_rows(), k, self._stored, self._metric)
        if self._lists is None:
            return self._search_whole(queries, k, point, selector)
        rerank = point.rerank if self._reranks else 0
        candidates = min(self.rows, max(_LEAST_CANDIDATES, rerank * k) if rerank else k + _SPARE)
        rows, values = self._search_lists(self._lists, queries, candidates, wanted, point, selector)
        return self._decide(queries, rows, values, rerank, k)

    def _decide(
        self, queries: np.ndarray, rows: np.ndarray, values: np.ndarray, rerank: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if rerank:
            assert self._stored is not None
            values = measure(queries, rows, self._stored, self._metric)
        rows, values = nearest_first(rows, values, self._metric)
        return rows[:, :k], values[:, :k]

    def _search_lists(
        self,
        lists: ListParts,
        queries: np.ndarray,
        candidates: int,
        wanted: int,
        point: OperatingPoint,
        selector: RowFilter | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Asks again, of twice as many lists each time, for the queries whose lists held fewer than `wanted` rows."""
        chosen = None if selector is None else selector.selector()
        nprobe = max(1, point.nprobe)
        rows, values = lists.search(queries, candidates, wanted, nprobe, point.ef_search, chosen)
        while nprobe < lists.lists:
            short = np.flatnonzero((rows >= 0).sum(axis=1) < wanted)
            if len(short) == 0:
                break
            nprobe *= 2
            rows[short], values[short] = lists.search(queries[short], candidates, wanted, nprobe, 0, chosen)
        return rows, values

    def _search_whole(
        self, queries: np.ndarray, k: int, point: OperatingPoint, selector: RowFilter | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """An index without inverted lists: Flat, a graph, or any other that FAISS knows."""
        rerank = point.rerank if self._reranks else 0
        candidates = min(self.rows, max(_LEAST_CANDIDATES, rerank * k) if rerank else k)
        effort = self._effort(point.ef_search, None if selector is None else selector.selector())
        try:
            values, rows = self._index.search(queries, candidates, params=effort)
        except RuntimeError as error:
            if selector is None:
                raise
            raise UsageError(f"{type(self._index).__name__} cannot be searched with a filter: {error}") from None
        rows, values = self._decide(queries, rows, values, rerank, k)
        if selector is not None and self._stored is not None:
            # A graph whose allowed rows are far apart may not lead to all of them.
            short = np.flatnonzero((rows >= 0).sum(axis=1) < min(k, selector.count))
            if len(short):
                rows[short], values[short] = nearest_of(
                    queries[short], selector.list_rows(), k, self._stored, self._metric
                )
        return rows, values

    def _effort(self, ef_search: int, chosen: Any) -> Any:
        library = faiss()
        if isinstance(self._index, library.IndexHNSW):
            return library.SearchParametersHNSW(efSearch=ef_search or self._index.hnsw.efSearch, sel=chosen)
        return None if chosen is None else library.SearchParameters(sel=chosen)


def _vectors_inside(index: Any) -> StoredVectors | None:
    """The vectors that an index itself holds as they are, seen where they lie."""
    library = faiss()
    inside = library.downcast_index(index.storage) if isinstance(index, library.IndexHNSW) else index
    if not isinstance(inside, library.IndexFlat):
        return None
    shape = int(inside.ntotal), int(inside.d)
    return StoredVectors([library.rev_swig_ptr(inside.get_xb(), shape[0] * shape[1]).reshape(shape)])
