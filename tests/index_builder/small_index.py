"""A small IVF-PQ index on disk, with queries and their exact neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index_builder.assembly.index_file import write_flat_index, write_ivf_index
from index_builder.assembly.runs import Run, list_sizes, write_run
from index_builder.evaluation.ground_truth import Neighbours, exact_neighbours
from index_builder.measures import faiss_metric, prepare
from index_builder.planning.index_plan import IndexPlan
from index_builder.searching.searcher import Searcher
from index_builder.searching.vector_file import write_vectors
from index_builder.training.codebook import Codebook, Codes, encode_vectors, train_codebook
from index_builder.training.row_store import RowStore
from index_builder.training.sample import VectorSample
from tests.index_builder.vectors import clustered, small_plan

ROWS = 3_000


def trained(vectors: np.ndarray, plan: IndexPlan) -> Codebook:
    """A codebook trained on all of the prepared vectors."""
    rows = RowStore(None, *vectors.shape)
    rows.write(0, vectors)
    return train_codebook(rows, plan)


def write_index(
    path: Path,
    codebook: Codebook,
    plan: IndexPlan,
    files: Sequence[tuple[Codes, np.ndarray]],
    lists: tuple[int, int] | None = None,
    memory: int = 1 << 20,
) -> None:
    """An index file of the codes and row numbers of some files, each a run of its own."""
    runs = []
    for number, file in enumerate(files):
        write_run(f"{path}.run-{number}", plan.lists, codebook.inner.code_size, [file])
        runs.append(Run(f"{path}.run-{number}"))
    fastscan = plan.family == "ivf_pq_fastscan"
    write_ivf_index(path, codebook, fastscan, runs, list_sizes(runs), lists or (0, plan.lists), memory)


def write_flat(path: Path, vectors: np.ndarray, metric: str) -> None:
    """A Flat index file of all of the prepared vectors."""
    write_flat_index(path, [vectors], *vectors.shape, faiss_metric(metric))


@dataclass(frozen=True)
class SmallIndex:
    """An index of `vectors` [3000, 24] in `folder`, and what it is made of."""

    folder: Path
    plan: IndexPlan
    vectors: np.ndarray
    codebook: Codebook
    codes: Codes
    queries: VectorSample
    truth: Neighbours

    def searcher(self, kept: bool, codes: Codes | None = None) -> Searcher:
        """Of the index, or of one with other codes; with its vectors kept or without."""
        path = self.folder / ("index" if codes is None else "other")
        write_index(path, self.codebook, self.plan, [(codes or self.codes, np.arange(ROWS))])
        return Searcher([path], [self.folder / "vectors.npy"] if kept else [], self.plan.metric)


def small_index(folder: Path, metric: str, step: int = 15) -> SmallIndex:
    """Every `step`-th row is a query."""
    vectors = prepare(clustered(ROWS, 24), metric)
    plan = small_plan(metric)
    codebook = trained(vectors, plan)
    write_vectors(folder / "vectors.npy", [vectors], ROWS, 24, "float32")
    rows = np.arange(0, ROWS, step)
    queries = VectorSample((rows * 7_919 % 10_007).astype(np.uint64), rows, vectors[rows])
    truth = exact_neighbours(vectors[rows], vectors, np.arange(ROWS), metric)
    return SmallIndex(folder, plan, vectors, codebook, encode_vectors(codebook, vectors, metric), queries, truth)
