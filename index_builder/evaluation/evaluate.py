"""Recall of a built index against exact neighbours, at each operating point and in each slice of the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from index_builder.evaluation.ground_truth import Neighbours
from index_builder.evaluation.operating_points import MeasuredPoint, choose, climb, cost, pareto
from index_builder.evaluation.recall import Truth, interval, mean_share
from index_builder.evaluation.slices import Slice, slice_recall
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.sample import VectorSample

DEPTHS = (1, 10, 100)
_MEASURE = (
    "mean share of a query's exact k nearest items, itself left out, among the k that the index returns; items as far "
    "away as the k-th count as it does; with the 95 % interval of a bootstrap over the queries"
)


@dataclass(frozen=True)
class Evaluation:
    """What was measured; the same for every build of the same snapshot, for no clock is in it.

    Attributes:
        queries: how many.
        left_out: by depth, how many of them have more copies than the ground truth is deep, and say nothing.
        points: recall@1 and recall@10 at each operating point, cheapest first.
        default: the point to serve at.
        recall: recall@1, recall@10 and recall@100 at the default point.
        interval: the 95 % confidence interval of each.
        recall_target: recall@10 that was asked for.
        target_met: whether the default point reaches it; None without a target.
        slices: recall@10 at the default point in parts of the catalog, the worst first.
    """

    queries: int
    left_out: dict[str, int]
    points: list[MeasuredPoint]
    default: OperatingPoint
    recall: dict[str, float]
    interval: dict[str, tuple[float, float]]
    recall_target: float | None = None
    target_met: bool | None = None
    slices: list[Slice] = field(default_factory=list)

    @property
    def pareto(self) -> list[MeasuredPoint]:
        """The points that no other beats in recall@10 at no more cost, cheapest first."""
        return pareto(self.points)

    def to_json(self) -> dict[str, Any]:
        optimal = {each.point for each in self.pareto}
        return {
            "schema_version": 1,
            "measure": _MEASURE,
            "queries": self.queries,
            "left_out": self.left_out,
            "default": self.default.to_json(),
            "recall": self.recall,
            "interval": {depth: list(ends) for depth, ends in self.interval.items()},
            "recall_target": self.recall_target,
            "target_met": self.target_met,
            "points": [{**each.to_json(), "pareto": each.point in optimal} for each in self.points],
            "slices": [each.to_json() for each in self.slices],
        }


def evaluate(
    searcher: Searcher,
    queries: VectorSample,
    truth: Neighbours,
    lists: int,
    rerank: int | Sequence[int],
    *,
    vectors: int,
    hnsw: bool = False,
    slices: Mapping[str, Sequence[str | None]] | None = None,
    recall_target: float | None = None,
) -> Evaluation:
    """Measures recall over rising cost, and chooses the point to serve at.

    Args:
        searcher: the index.
        queries: items of the catalog, chosen by hash, prepared.
        truth: their exact neighbours, themselves included, to `ground_truth.DEPTH`.
        lists: inverted lists; 0 for a Flat index.
        rerank: see `OperatingPoint`; one or more, rising. 0 where the version keeps no vectors.
        vectors: in the index.
        hnsw: whether a graph finds the nearest centroids.
        slices: for each column its values, one a query.
        recall_target: recall@10 that the default point should reach.
    """
    exact = Truth(truth, queries.rows, queries.vectors)
    points: list[MeasuredPoint] = []

    def recall_of(point: OperatingPoint) -> float:
        recall, ends = _summary(_shares(searcher, queries, exact, point, DEPTHS[:2]))
        points.append(MeasuredPoint(point, cost(point, vectors, lists), recall, ends))
        return recall["10"]

    climb(lists, [rerank] if isinstance(rerank, int) else rerank, hnsw, recall_of, recall_target)
    chosen, target_met = choose(points, recall_target)
    shares = {
        **_shares(searcher, queries, exact, chosen.point, DEPTHS[:2]),
        **_shares(searcher, queries, exact, chosen.point, DEPTHS[2:]),
    }
    recall, ends = _summary(shares)
    return Evaluation(
        queries=len(queries.rows),
        left_out={str(depth): int(np.isnan(each).sum()) for depth, each in shares.items()},
        points=sorted(points, key=lambda each: each.cost),
        default=chosen.point,
        recall=recall,
        interval=ends,
        recall_target=recall_target,
        target_met=target_met,
        slices=slice_recall(shares[10], slices or {}),
    )


def limit_to(
    evaluation: Evaluation,
    allowed: Sequence[OperatingPoint],
    searcher: Searcher,
    queries: VectorSample,
    truth: Neighbours,
) -> Evaluation:
    """The evaluation with its default chosen, by the same rule, among the measured points that are `allowed`: those,
    say, that a machine was measured to be fast enough for. Its slices are left empty.

    Raises:
        ValueError: no measured point is allowed.
    """
    points = [each for each in evaluation.points if each.point in allowed]
    if not points:
        raise ValueError("no measured point is allowed")
    chosen, target_met = choose(points, evaluation.recall_target)
    exact = Truth(truth, queries.rows, queries.vectors)
    deep, ends = _summary(_shares(searcher, queries, exact, chosen.point, DEPTHS[2:]))
    return replace(
        evaluation,
        default=chosen.point,
        recall={**chosen.recall, **deep},
        interval={**chosen.interval, **ends},
        target_met=target_met,
        slices=[],
    )


def _shares(
    searcher: Searcher, queries: VectorSample, exact: Truth, point: OperatingPoint, depths: Sequence[int]
) -> dict[int, np.ndarray]:
    """`Truth.shares` of a search for as many as a caller would ask for: the candidates to re-rank depend on it."""
    return exact.shares(Neighbours(*searcher.search(queries.vectors, max(depths) + 1, point)), depths)


def _summary(shares: dict[int, np.ndarray]) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """By depth, the recall and its interval."""
    recall = {str(depth): mean_share(each) for depth, each in shares.items()}
    return recall, {str(depth): interval(each) for depth, each in shares.items()}
