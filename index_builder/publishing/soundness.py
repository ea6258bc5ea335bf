"""What a version's own files say about it: repeated item ids, and how evenly its inverted lists are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index_builder.publishing.answers import Answers
from index_builder.searching.items import Items
from index_builder.searching.searcher import Searcher


@dataclass(frozen=True)
class Soundness:
    """The part `soundness` of the manifest.

    Attributes:
        items: rows of the items files.
        indexed: rows of the index.
        duplicate_ids: rows that repeat an item id, or break the order by which ids are found.
        list_imbalance: FAISS's imbalance factor, lists x sum of squared sizes / squared sum: 1 is all lists alike; None
            without lists.
        empty_lists: how many.
        self_lookup: share of the queries that find their own item among ten, or as many copies of it.
    """

    items: int
    indexed: int
    duplicate_ids: int
    list_imbalance: float | None
    empty_lists: int | None
    self_lookup: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Soundness:
        return cls(**value)


def measure_soundness(searcher: Searcher, items: Items, answers: Answers) -> Soundness:
    """Looks at every item id and at the size of every list."""
    sizes = searcher.list_sizes()
    found = answers.found_itself
    return Soundness(
        items=len(items),
        indexed=searcher.rows,
        duplicate_ids=count_repeated(items),
        list_imbalance=imbalance(sizes) if len(sizes) else None,
        empty_lists=int((sizes == 0).sum()) if len(sizes) else None,
        self_lookup=round(float(found.mean()), 6) if len(found) else 1.0,
    )


def count_repeated(items: Items) -> int:
    """Rows whose item id does not come after the one before it in the same partition.

    Ids ascend inside a partition, and an id has one partition: so equal ids are neighbours.
    """
    repeated, before = 0, None
    starts = set(items.partition_starts.tolist())
    for first, ids in items.blocks("item_id"):
        if before is not None:
            ids, first = pa.concat_arrays([pa.array([before], pa.string()), ids]), first - 1
        wrong = pc.less_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        repeated += sum(first + 1 + place not in starts for place in np.flatnonzero(wrong).tolist())
        before = ids[-1].as_py()
    return repeated


def imbalance(sizes: np.ndarray) -> float:
    """FAISS's imbalance factor of int64 [lists] sizes: how much longer searches take than with lists all alike."""
    total = float(sizes.sum())
    return round(len(sizes) * float((sizes.astype(np.float64) ** 2).sum()) / total**2, 6) if total else 1.0
