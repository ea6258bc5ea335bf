"""Search of one opened index: the index proposes, the stored vectors decide."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.measures import larger_is_nearer, prepare, similarity


@dataclass(frozen=True)
class OperatingPoint:
    """How hard to search.

    Attributes:
        nprobe: inverted lists visited; 0 for a Flat index.
        rerank: candidates for each neighbour asked for, put in order by their stored vectors; 0 for none.
        ef_search: nodes of the graph over the centroids that are held open while lists are chosen; 0 where there is no
            graph, or for FAISS's own number.
    """

    nprobe: int
    rerank: int
    ef_search: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, int]) -> OperatingPoint:
        return cls(**value)


# Fewer candidates than this are no cheaper.
_LEAST_CANDIDATES = 100


class Searcher:
    """A memory-mapped FAISS index and, where a version has them, its vectors."""

    def __init__(self, index_path: Path, vectors: np.ndarray | None, metric: str) -> None:
        library = faiss()
        self._index = library.read_index(str(index_path), library.IO_FLAG_MMAP | library.IO_FLAG_READ_ONLY)
        self._ivf = library.try_extract_index_ivf(self._index)
        self._vectors = vectors
        self._metric = metric

    @property
    def rows(self) -> int:
        """Vectors in the index."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Of the vectors that it is asked with."""
        return int(self._index.d)

    def vector(self, row: int) -> np.ndarray | None:
        """float32 [d] of a row; None where the version stores codes only."""
        if self._vectors is not None:
            return np.asarray(self._vectors[row], np.float32)
        return None if self._ivf is not None else self._index.reconstruct(row)

    def search(self, queries: np.ndarray, k: int, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each query.

        Args:
            queries: [q, d].
            k: neighbours.
            point: how hard to look.

        Returns:
            rows int64 [q, k] and values float32 [q, k], as FAISS measures; all rows where there are fewer than k.
        """
        queries = prepare(queries, self._metric)
        k = min(k, self.rows)
        rerank = point.rerank if self._vectors is not None else 0
        candidates = min(self.rows, max(_LEAST_CANDIDATES, rerank * k) if rerank else k)
        values, rows = self._index.search(queries, candidates, params=self._parameters(point.nprobe))
        self._fill(queries, k, candidates, point.nprobe, rows, values)
        if rerank:
            rows, values = self._rerank(queries, rows)
        return rows[:, :k], values[:, :k]

    def _fill(
        self, queries: np.ndarray, k: int, candidates: int, nprobe: int, rows: np.ndarray, values: np.ndarray
    ) -> None:
        """Asks again, of twice as many lists each time, for the queries whose lists held fewer than `k` vectors."""
        nprobe = max(1, nprobe)
        while self._ivf is not None and nprobe < self._ivf.nlist:
            short = np.flatnonzero((rows[:, :k] < 0).any(axis=1))
            if len(short) == 0:
                return
            nprobe *= 2
            values[short], rows[short] = self._index.search(queries[short], candidates, params=self._parameters(nprobe))

    def _parameters(self, nprobe: int) -> Any:
        if self._ivf is None:
            return None
        library = faiss()
        inner = library.SearchParametersIVF(nprobe=max(1, min(nprobe, self._ivf.nlist)))
        return library.SearchParametersPreTransform(index_params=inner)

    def _rerank(self, queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self._vectors is not None
        values = np.zeros(rows.shape, np.float32)
        for number, query in enumerate(queries):
            found = np.sort(rows[number][rows[number] >= 0])  # In row order: the vectors are read front to back.
            near = similarity(query, np.asarray(self._vectors[found], np.float32), self._metric)
            order = np.argsort(-near if larger_is_nearer(self._metric) else near, kind="stable")
            rows[number, : len(found)] = found[order]
            rows[number, len(found) :] = -1
            values[number, : len(found)] = near[order]
        return rows, values
