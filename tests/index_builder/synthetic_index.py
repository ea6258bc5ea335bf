"""Index files of any size without vectors: random list numbers and codes under a codebook, by the project's writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index_builder.assembly.index_file import write_ivf_index
from index_builder.assembly.runs import Run, list_sizes, write_run
from index_builder.planning.index_plan import IndexPlan
from index_builder.training.codebook import Codebook, Codes, train_codebook
from index_builder.training.row_store import RowStore


def stored(vectors: np.ndarray) -> RowStore:
    """A row store of float32 [n, d] vectors, in memory."""
    rows = RowStore(None, *vectors.shape)
    rows.write(0, vectors)
    return rows


def random_codebook(plan: IndexPlan) -> Codebook:
    """A codebook of the plan, trained on no more random vectors than it takes."""
    drawn = np.random.default_rng(0).normal(size=(max(plan.lists, 512), plan.dimension))
    return train_codebook(stored(drawn.astype(np.float32)), plan)


def write_synthetic_index(path: Path, plan: IndexPlan, vectors: int) -> Path:
    """Writes an index of `vectors` rows, which fall to lists and codes at random."""
    codebook, rng = random_codebook(plan), np.random.default_rng(1)
    lists = np.sort(rng.integers(0, plan.lists, vectors, np.int32))
    codes = Codes(
        lists, np.arange(vectors, dtype=np.int32), rng.integers(0, 256, (vectors, codebook.inner.code_size), np.uint8)
    )
    run = path.with_suffix(".run")
    write_run(str(run), plan.lists, codes.codes.shape[1], [(codes, np.arange(vectors))])
    fastscan = plan.family == "ivf_pq_fastscan"
    runs = [Run(str(run))]
    write_ivf_index(path, codebook, fastscan, runs, list_sizes(runs), (0, plan.lists), 256 << 20)
    run.unlink()
    return path
