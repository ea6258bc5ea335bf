"""Recall against exact neighbours, at each operating point; and the one to serve at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from index_builder.ground_truth import Neighbours
from index_builder.sample import VectorSample
from index_builder.searcher import OperatingPoint, Searcher

DEPTHS = (1, 10, 100)
# The default point is the cheapest whose recall@10 is this close to the best of the index.
_CLOSE_ENOUGH = 0.005


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        queries: how many.
        points: recall@1 and recall@10 at each operating point, cheapest first.
        default: the point to serve at.
        recall: recall@1, recall@10 and recall@100 at the default point.
    """

    queries: int
    points: list[tuple[OperatingPoint, dict[str, float]]]
    default: OperatingPoint
    recall: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "measure": "share of a query's exact k nearest items, itself left out, among the k that the index returns",
            "queries": self.queries,
            "recall": self.recall,
            "default": self.default.to_json(),
            "points": [{**point.to_json(), "recall": recall} for point, recall in self.points],
        }


def evaluate(searcher: Searcher, queries: VectorSample, truth: Neighbours, lists: int, rerank: int) -> Evaluation:
    """Measures recall over falling speed, and chooses the point to serve at.

    Args:
        searcher: the index.
        queries: items of the catalog, chosen by hash, prepared.
        truth: their exact neighbours, themselves included.
        lists: inverted lists; 0 for a Flat index.
        rerank: see `OperatingPoint`.
    """
    exact = drop_self(truth.rows, queries.rows)

    def recall(point: OperatingPoint, depths: tuple[int, ...]) -> dict[str, float]:
        # Asked for as many as a caller would ask for: the number of candidates to re-rank depends on it.
        found = searcher.search(queries.vectors, max(depths) + 1, point)[0]
        return recall_at(drop_self(found, queries.rows), exact, depths)

    points = [(point, recall(point, DEPTHS[:2])) for point in (OperatingPoint(n, rerank) for n in _nprobes(lists))]
    best = max(measured["10"] for _, measured in points)
    default, measured = next((p, r) for p, r in points if r["10"] >= best - _CLOSE_ENOUGH)
    return Evaluation(len(queries.rows), points, default, {**measured, **recall(default, DEPTHS[2:])})


def _nprobes(lists: int) -> list[int]:
    """Powers of two up to the number of lists, and at most 512: beyond, an index has too many lists to be probed so."""
    return [1 << power for power in range(10) if 1 << power <= lists] or [0]


def drop_self(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """int64 [q, k - 1]: each query's rows without its own, or without the last where its own is not among them."""
    kept = np.empty((len(rows), max(0, rows.shape[1] - 1)), np.int64)
    for number, (found, row) in enumerate(zip(rows, own, strict=True)):
        kept[number] = found[found != row][: kept.shape[1]]
    return kept


def recall_at(found: np.ndarray, exact: np.ndarray, depths: Sequence[int] = DEPTHS) -> dict[str, float]:
    """Mean share of the exact k nearest among the k found, for each depth; fewer than k items count as they are."""
    result = {}
    for depth in depths:
        shares = []
        for mine, right in zip(found, exact, strict=True):
            wanted = set(right[:depth].tolist()) - {-1}
            shares.append(len(wanted & set(mine[:depth].tolist())) / len(wanted) if wanted else 1.0)
        result[str(depth)] = round(float(np.mean(shares)), 6) if shares else 1.0
    return result
