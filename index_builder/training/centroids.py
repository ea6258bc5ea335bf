"""Coarse centroids: trained in two levels, and found again in two levels.

k-means over k centroids costs k products a vector and iteration. Here the sample is cut into about sqrt(k) cells, each
cell gets its share of the centroids by a k-means of its own, and a step or two of Lloyd over everything mend the
borders. Assignment looks at the centroids of the few nearest cells only. `python -m benchmarks.assignment` measures how
often that is the nearest of all.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.threads import in_threads
from index_builder.training.row_store import BLOCK, RowStore, grouped

# Lloyd's iterations gain little after ten, and time is linear in them.
ITERATIONS = 10
# FAISS itself takes no more than 256 vectors a centroid.
SAMPLE_PER_CELL = 256
# Below this many centroids, comparing all of them is as cheap.
FLAT_BELOW = 512
# Cells that are looked into for each vector, at most. More are exacter and dearer.
CELLS = 8
# And of these, those that are nearly as near as the nearest: so near that this share of the vectors still find the
# centroid that they would find in all.
_WITHIN_GAP = 0.99
_GAP_ROWS = 16_384
# Steps over everything after the cells were trained apart: one is nearly enough, a third gains nothing more. With many
# lists the steps are most of the training, and one has to do.
_MANY_LISTS = 16_384
# Multiplications in one assignment, vectors times centroids times dimensions, from which on a k-means goes to a GPU.
# One core does about 3 * 10^10 a second, so that one below takes it a second or so, and there are thousands of those,
# cells and sub-quantizers, under way on all cores. For each, FAISS would set 1.5 GB of every GPU aside.
GPU_FROM = 1 << 32
# For the same reason one k-means at a time has the GPUs.
_ON_GPU = threading.Lock()


@dataclass(frozen=True)
class CentroidTree:
    """Centroids below cells.

    Attributes:
        cells: float32 [t, d], what a vector is compared with first; empty where there is one level only.
        centroids: float32 [k, d], those of a cell next to each other.
        starts: int64 [t + 1], the first centroid of each cell.
        inner_product: whether the nearest has the largest inner product (cosine, dot) or the smallest distance (l2).
        gap: cells whose score is further than this below the nearest cell's are not looked into. A score is the inner
            product, for l2 less half the squared length of what it is with.
    """

    cells: np.ndarray
    centroids: np.ndarray
    starts: np.ndarray
    inner_product: bool
    gap: float = math.inf

    @functools.cached_property
    def _offsets(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """What is taken off the inner products, so that the largest is the nearest: half the squared lengths for l2."""
        if self.inner_product:
            return None, None
        return (self.cells**2).sum(axis=1) / 2, (self.centroids**2).sum(axis=1) / 2

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """int64 [n]: the nearest centroid of each of float32 [n, d] vectors, of its nearest cells within the gap."""
        if len(self.cells) == 0:
            return _nearest(vectors, self.centroids, self._offsets[1])[0]
        owners, rows = self._pairs(vectors)
        # Cells before vectors: the vectors of a cell come together, and meet its centroids in one product.
        order = np.argsort(owners, kind="stable")
        rows, bounds = rows[order], np.searchsorted(owners[order], np.arange(len(self.cells) + 1))
        best, scores = np.zeros(len(vectors), np.int64), np.full(len(vectors), -np.inf, np.float32)
        for cell in range(len(self.cells)):
            mine, first, last = rows[bounds[cell] : bounds[cell + 1]], self.starts[cell], self.starts[cell + 1]
            if first < last and len(mine):
                offsets = None if self._offsets[1] is None else self._offsets[1][first:last]
                found, score = _nearest(vectors[mine], self.centroids[first:last], offsets)
                nearer = score > scores[mine]
                best[mine[nearer]], scores[mine[nearer]] = found[nearer] + first, score[nearer]
        return best

    def _pairs(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells and vectors that meet: int16 or int32 [pairs] cells and int64 [pairs] vectors."""
        scores, everyone = self._heights(vectors), np.arange(len(vectors))
        kind = np.int16 if len(self.cells) < 2**15 else np.int32
        owners, rows = [], []
        top = np.zeros(0, np.float32)
        for rank in range(min(CELLS, len(self.cells))):  # A few passes of argmax are faster than a partition.
            nearest = scores.argmax(axis=1)
            height = scores[everyone, nearest]
            top = height if rank == 0 else top
            within = np.flatnonzero(height >= top - np.float32(self.gap))
            owners.append(nearest[within].astype(kind))
            rows.append(within)
            scores[everyone, nearest] = -np.inf
        return np.concatenate(owners), np.concatenate(rows)

    def _heights(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, t]: the score of each cell for each vector."""
        heights = vectors @ self.cells.T
        if self._offsets[0] is not None:
            heights -= self._offsets[0]
        heights[:, np.diff(self.starts) == 0] = -np.inf  # There is nothing to find in it.
        return heights

    def with_gap(self, vectors: np.ndarray) -> CentroidTree:
        """The same, looking no further than it takes for nearly all of float32 [n, d] vectors."""
        if len(self.cells) == 0:
            return self

        def behind(block: np.ndarray) -> np.ndarray:
            """How far the cell of the nearest centroid is behind the nearest cell."""
            heights, nearest = self._heights(block), replace(self, gap=math.inf).assign(block)
            owners = np.searchsorted(self.starts, nearest, side="right") - 1
            return heights.max(axis=1) - heights[np.arange(len(block)), owners]

        gaps = np.concatenate(list(in_threads(behind, _pieces(vectors))))
        return replace(self, gap=float(np.quantile(gaps, _WITHIN_GAP, method="higher")))


def _pieces(vectors: np.ndarray) -> list[np.ndarray]:
    return [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]


def _nearest(vectors: np.ndarray, centroids: np.ndarray, offsets: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    scores = vectors @ centroids.T
    if offsets is not None:
        scores -= offsets
    best = scores.argmax(axis=1)
    return best, scores[np.arange(len(best)), best]


def train_centroids(sample: RowStore, lists: int, inner_product: bool, seed: int, scratch: Path | None) -> CentroidTree:
    """Trains `lists` centroids.

    Args:
        sample: float32 [n, d], in any order, at least `lists` rows.
        lists: how many.
        inner_product: of unit length, for inner products (spherical k-means); otherwise means, for distances.
        seed: of every k-means.
        scratch: a folder for what does not fit into memory, None where everything does.
    """
    if lists < FLAT_BELOW:
        centroids = k_means(sample.evenly(SAMPLE_PER_CELL * lists), lists, inner_product, seed)
        none = np.empty((0, sample.dimension), np.float32)
        return CentroidTree(none, centroids, np.zeros(1, np.int64), inner_product)
    # More cells than the root: assignment looks at all of them once, and into several of them.
    count = round(math.sqrt(2 * lists))
    cells = k_means(sample.evenly(SAMPLE_PER_CELL * count), count, inner_product, seed)
    tops = CentroidTree(np.empty((0, sample.dimension), np.float32), cells, np.zeros(1, np.int64), inner_product)
    mine = np.concatenate(list(in_threads(lambda block: tops.assign(block[1]), sample.blocks())))
    ordered, begins = grouped(sample, mine, count, scratch / "cells" if scratch else None)
    shares = share_out(lists, np.diff(begins))

    def train_cell(cell: int) -> np.ndarray:
        return k_means(rows_of_cell[cell], int(shares[cell]), inner_product, seed)

    rows_of_cell = _LazyRows(ordered, begins)
    trained = list(in_threads(train_cell, np.flatnonzero(shares).tolist()))
    starts = np.concatenate([[0], np.cumsum(shares)]).astype(np.int64)
    tree = CentroidTree(cells, np.concatenate(trained), starts, inner_product)
    seen = ordered.evenly(_GAP_ROWS)
    for _ in range(lloyd_steps(lists)):
        tree = _lloyd_step(ordered, tree.with_gap(seen))
    return tree.with_gap(seen)


def lloyd_steps(lists: int) -> int:
    """Steps of Lloyd over all centroids, for so many."""
    return 2 if lists < _MANY_LISTS else 1


class _LazyRows:
    """The rows of a cell, read when a thread wants them; one at a time reads."""

    def __init__(self, ordered: RowStore, begins: np.ndarray) -> None:
        self._ordered, self._begins, self._lock = ordered, begins, threading.Lock()

    def __getitem__(self, cell: int) -> np.ndarray:
        with self._lock:
            return self._ordered.read(int(self._begins[cell]), int(self._begins[cell + 1]))


def share_out(lists: int, sizes: np.ndarray) -> np.ndarray:
    """int64 [cells]: centroids for each cell, in proportion to its vectors (largest remainder), at least one and at
    most one a vector."""
    wanted = lists * sizes / sizes.sum()
    shares = np.minimum(np.maximum(np.floor(wanted).astype(np.int64), 1), sizes)
    while (missing := lists - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        may = shares < sizes if missing > 0 else shares > 1
        if not may.any():
            raise ValueError(f"{sizes.sum()} vectors are too few for {lists} centroids")
        lacking = np.where(may, (wanted - shares) * step, -np.inf)
        chosen = np.argsort(-lacking, kind="stable")[: min(abs(missing), int(may.sum()))]
        shares[chosen] += step
    return shares


def _lloyd_step(rows: RowStore, tree: CentroidTree) -> CentroidTree:
    """Moves every centroid to the mean of the vectors that are now assigned to it."""
    sums = np.zeros(tree.centroids.shape, np.float32)
    counts = np.zeros(len(sums), np.int64)
    blocks = in_threads(lambda block: (block[1], tree.assign(block[1])), rows.blocks())
    for block, lists in blocks:
        order = np.argsort(lists, kind="stable")
        present, first, sizes = np.unique(lists[order], return_index=True, return_counts=True)
        sums[present] += np.add.reduceat(block[order], first, axis=0)
        counts[present] += sizes
    moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], tree.centroids)
    if tree.inner_product:
        moved = _unit(moved, tree.centroids)
    return CentroidTree(tree.cells, np.ascontiguousarray(moved, np.float32), tree.starts, tree.inner_product)


def _unit(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), otherwise)


def k_means(
    vectors: np.ndarray, count: int, inner_product: bool, seed: int, iterations: int = ITERATIONS
) -> np.ndarray:
    """FAISS's k-means, a large one on a GPU where it sees one.

    Args:
        vectors: float32 [n, d], n at least `count`.

    Returns:
        float32 [count, d].
    """
    library = faiss()
    vectors = np.ascontiguousarray(vectors, np.float32)
    if len(vectors) == count:
        return _unit(vectors, vectors) if inner_product else vectors
    dimension = vectors.shape[1]
    settings = library.ClusteringParameters()
    settings.niter = iterations
    settings.seed = seed
    settings.spherical = inner_product
    settings.min_points_per_centroid = 1  # The plan has decided that there are enough: no warnings.
    clustering = library.Clustering(dimension, count, settings)
    index = (library.IndexFlatIP if inner_product else library.IndexFlatL2)(dimension)
    if has_gpu() and vectors.size * count >= GPU_FROM:
        with _ON_GPU:
            clustering.train(vectors, library.index_cpu_to_all_gpus(index))
    else:
        clustering.train(vectors, index)
    return library.vector_to_array(clustering.centroids).reshape(count, dimension).copy()


def has_gpu() -> bool:
    """Whether FAISS sees a GPU."""
    return hasattr(faiss(), "StandardGpuResources") and faiss().get_num_gpus() > 0
