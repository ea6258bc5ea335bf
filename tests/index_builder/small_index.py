"""A small IVF-PQ index on disk, with queries and their exact neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from index_builder.codebook import Codes, encode_vectors, train_codebook
from index_builder.ground_truth import Neighbours, exact_neighbours
from index_builder.index_file import write_ivf_index
from index_builder.index_plan import IndexPlan
from index_builder.measures import prepare
from index_builder.sample import VectorSample
from index_builder.searcher import Searcher
from index_builder.vector_file import write_vectors
from tests.index_builder.vectors import clustered, small_plan

ROWS = 3_000


@dataclass(frozen=True)
class SmallIndex:
    """An index of `vectors` [3000, 24] in `folder`, and what it is made of."""

    folder: Path
    plan: IndexPlan
    vectors: np.ndarray
    codebook: faiss.Index
    codes: Codes
    queries: VectorSample
    truth: Neighbours

    def searcher(self, kept: bool, codes: Codes | None = None) -> Searcher:
        """Of the index, or of one with other codes; with its vectors kept or without."""
        path = self.folder / ("index" if codes is None else "other")
        write_ivf_index(path, self.codebook, [(codes or self.codes, np.arange(ROWS))])
        return Searcher([path], [self.folder / "vectors.npy"] if kept else [], self.plan.metric)


def small_index(folder: Path, metric: str, step: int = 15) -> SmallIndex:
    """Every `step`-th row is a query."""
    vectors = prepare(clustered(ROWS, 24), metric)
    plan = small_plan(metric)
    codebook = faiss.deserialize_index(np.frombuffer(train_codebook(vectors, plan), np.uint8))
    write_vectors(folder / "vectors.npy", [vectors], ROWS, 24, "float32")
    rows = np.arange(0, ROWS, step)
    queries = VectorSample((rows * 7_919 % 10_007).astype(np.uint64), rows, vectors[rows])
    truth = exact_neighbours(vectors[rows], vectors, np.arange(ROWS), metric)
    return SmallIndex(folder, plan, vectors, codebook, encode_vectors(codebook, vectors), queries, truth)
