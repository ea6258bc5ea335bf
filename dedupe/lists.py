"""Lists: alike pictures brought together, so that only those of one list are compared.

Coarse centroids over the joint descriptors (`Scoring.joint`), trained on a sample by FAISS's k-means in one or two
levels (`index_builder.training.centroids`). A picture goes to several lists, so that pairs across a border are found.
Centroids are int8 and products exact: which lists a descriptor goes to depends on it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog import storage
from dedupe.array_file import pack, unpack
from dedupe.scoring import Scoring, products, squares, to_int8
from index_builder.threads import in_threads
from index_builder.training.centroids import train_centroids
from index_builder.training.row_store import RowStore

#: The name of stored lists in a work folder.
FILE = "lists.npz"
_KIND, _SCHEMA_VERSION = "lists", 1
#: Rows a list, on average. Fewer are cheaper to compare, and lose pairs across borders.
ROWS_PER_LIST = 1_000
#: Lists that a picture goes to, and that each of its views goes to. Of the pairs of 9,017 pictures, 6,000 of them edits
#: of 300 others, these find 0.997 and more, whether there are 9, 30 or 90 lists; with one list a view 0.988 and more.
PROBES = 3
VIEW_PROBES = 2
#: Rows of the sample that it takes to place a centroid.
SAMPLE_PER_LIST = 30
#: Of a descriptor that goes to fewer lists than asked for.
NO_LIST = -1
# Cells whose centroids a descriptor is compared with, where there are two levels.
_CELLS = 8
_BLOCK = 16_384


@dataclass(frozen=True)
class Lists:
    """See the module.

    Attributes:
        scoring: of the descriptors.
        cells: int8 [t, D], what a descriptor is compared with first; empty where there is one level only.
        centroids: int8 [k, D], those of a cell next to each other.
        starts: int64 [t + 1], the first centroid of each cell.
    """

    scoring: Scoring
    cells: np.ndarray
    centroids: np.ndarray
    starts: np.ndarray

    @classmethod
    def train(cls, sample: np.ndarray, count: int, scoring: Scoring, seed: int = 0) -> Lists:
        """Places `count` lists, or as many as the sample has different descriptors, or one.

        The order of the sample and the number of threads do not matter.

        Args:
            sample: int8 [n, D], of the pictures' own descriptors (view 0).
            count: see `list_count`.
            scoring: of the descriptors.
            seed: of k-means.
        """
        telling = sample[(sample != 0).any(axis=1)]
        rows = np.ascontiguousarray(scoring.joint(telling))
        rows = np.unique(rows.view(np.dtype((np.void, rows.shape[1])))).view(np.int8).reshape(-1, scoring.dimensions)
        count = max(1, min(count, len(rows)))
        none = np.zeros((0, scoring.dimensions), np.int8)
        if count == 1:
            mean = rows.astype(np.float64).sum(axis=0, keepdims=True)
            return cls(scoring, none, to_int8(mean), np.zeros(1, np.int64))
        # Sorted rows would start k-means from neighbours; a fixed shuffle makes them a sample of all again.
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
        vectors = rows / np.sqrt(squares(rows))[:, None]
        store = RowStore(None, len(vectors), scoring.dimensions)
        store.write(0, vectors.astype(np.float32))
        # One piece of work: a k-means outside of the threads would be one of as many threads as there are cores.
        (tree,) = in_threads(lambda each: train_centroids(each, count, True, seed, None), [store])
        return cls(scoring, to_int8(tree.cells), to_int8(tree.centroids), tree.starts)

    def assign(self, descriptors: np.ndarray, probes: int) -> np.ndarray:
        """The lists of each descriptor, the most alike first.

        Args:
            descriptors: int8 [n, D].
            probes: lists for each.

        Returns:
            int32 [n, probes]. `NO_LIST` fills up where there are fewer lists, and stands for a descriptor of zeros,
            which is like nothing.
        """
        assigned = np.full((len(descriptors), probes), NO_LIST, np.int32)
        for start in range(0, len(descriptors), _BLOCK):
            block = descriptors[start : start + _BLOCK]
            telling = (block != 0).any(axis=1)
            assigned[start : start + len(block)][telling] = self._nearest(self.scoring.joint(block[telling]), probes)
        return assigned

    def _nearest(self, joint: np.ndarray, probes: int) -> np.ndarray:
        """int32 [n, probes] of int8 [n, D]."""
        if len(self.cells) == 0:
            lists = np.broadcast_to(np.arange(len(self.centroids), dtype=np.int32), (len(joint), len(self.centroids)))
            return _best(_heights(joint, self.centroids), lists, probes)[1]
        numbers = np.broadcast_to(np.arange(len(self.cells), dtype=np.int32), (len(joint), len(self.cells)))
        owners = _best(_heights(joint, self.cells), numbers, min(_CELLS, len(self.cells)))[1]
        best = np.full((len(joint), probes), -np.inf, np.float32), np.full((len(joint), probes), NO_LIST, np.int32)
        order = np.argsort(owners, axis=None, kind="stable")
        bounds = np.searchsorted(owners.ravel()[order], np.arange(len(self.cells) + 1))
        for cell in range(len(self.cells)):
            rows = order[bounds[cell] : bounds[cell + 1]] // owners.shape[1]
            lists = np.arange(self.starts[cell], self.starts[cell + 1], dtype=np.int32)
            if len(rows) == 0 or len(lists) == 0:
                continue
            heights = _heights(joint[rows], self.centroids[lists])
            together = np.concatenate([best[0][rows], heights], axis=1)
            numbers = np.concatenate([best[1][rows], np.broadcast_to(lists, heights.shape)], axis=1)
            best[0][rows], best[1][rows] = _best(together, numbers, probes)
        return best[1]

    def to_bytes(self) -> bytes:
        """The bytes of `lists.npz`."""
        scoring = self.scoring
        settings = {
            "thumbnail_dimensions": scoring.thumbnail_dimensions,
            "embedding_dimensions": scoring.embedding_dimensions,
            "weight": scoring.weight,
        }
        arrays = {"cells": self.cells, "centroids": self.centroids, "starts": self.starts}
        return pack(_KIND, _SCHEMA_VERSION, settings, arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Lists:
        """What `to_bytes` gave. Raises IntegrityError naming `where` when it is something else."""
        settings, arrays = unpack(data, where, _KIND, _SCHEMA_VERSION)
        scoring = Scoring(settings["thumbnail_dimensions"], settings["embedding_dimensions"], settings["weight"])
        return cls(scoring, arrays["cells"], arrays["centroids"], arrays["starts"])

    def save(self, url: str) -> None:
        """Writes them to a file."""
        storage.write(url, self.to_bytes())

    @classmethod
    def load(cls, url: str) -> Lists:
        """What `save` wrote. Raises IntegrityError naming the file when it is something else."""
        return cls.from_bytes(storage.read_bytes(url), url)


def list_count(rows: int, sampled: int, rows_per_list: int = ROWS_PER_LIST) -> int:
    """How many lists for so many pictures, of which so many are sampled; at least one."""
    return max(1, min(rows // rows_per_list, sampled // SAMPLE_PER_LIST))


def _heights(joint: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """float32 [n, k]: int8 [n, D] with int8 [k, D], in proportion to the cosines of a row."""
    lengths = np.sqrt(squares(centroids).astype(np.float64)).astype(np.float32)
    return products(joint, centroids) / np.where(lengths > 0, lengths, np.float32(1))


def _best(heights: np.ndarray, numbers: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, most] and int32 [n, most]: the largest of each row and their numbers, ties in the order in which they
    stand, filled up with `NO_LIST`. `heights` is spent."""
    everyone = np.arange(len(heights))
    best, chosen = np.full((len(heights), most), -np.inf, np.float32), np.full((len(heights), most), NO_LIST, np.int32)
    for rank in range(min(most, heights.shape[1])):  # A few passes of argmax are faster than a partition.
        at = heights.argmax(axis=1)
        best[:, rank], chosen[:, rank] = heights[everyone, at], numbers[everyone, at]
        heights[everyone, at] = -np.inf
    return best, chosen
