"""Operating points: which ones are worth measuring, what each costs, which are Pareto-optimal, and where to serve.

Nothing here looks at a clock: what is chosen is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from index_builder.searching.searcher import OperatingPoint

# Candidates for each neighbour, where a version keeps its vectors.
RERANK_FACTORS = (4, 16, 64)
# Beyond, a search visits so many vectors that it is a scan.
_MOST_LISTS = 1_024
# A graph over the centroids finds `nprobe` of them well when it holds a few times as many open.
_EF_FACTORS = (2, 8)
_LEAST_EF = 32
# A step that gains less than this is noise of 1,000 queries, and so are the steps after it.
_GAIN = 0.0005
# Without a target, the default point is the cheapest whose recall@10 is this close to the best of the index.
_CLOSE_ENOUGH = 0.005
# Work of a search in codes compared: one stored vector is read from anywhere in a file and has tens of times the bytes
# of a code; one open node of the graph compares tens of centroids.
_CODES_A_VECTOR = 32
_CODES_A_NODE = 64
_NEIGHBOURS = 10


@dataclass(frozen=True)
class MeasuredPoint:
    """A point, its cost (see `cost`), and by depth its recall and the 95 % confidence interval of that."""

    point: OperatingPoint
    cost: int
    recall: dict[str, float]
    interval: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        intervals = {depth: list(ends) for depth, ends in self.interval.items()}
        return {**self.point.to_json(), "cost": self.cost, "recall": self.recall, "interval": intervals}


def cost(point: OperatingPoint, vectors: int, lists: int) -> int:
    """The work of a search for ten neighbours, as a number of codes compared: the mean number of vectors in the lists
    visited, and candidates re-ranked and nodes of the graph at what they are worth.

    Args:
        point: to search at.
        vectors: in the index.
        lists: inverted lists; 0 for a Flat index, which compares all vectors.
    """
    scanned = vectors if lists == 0 else point.nprobe * vectors // lists
    return scanned + _CODES_A_VECTOR * _NEIGHBOURS * point.rerank + _CODES_A_NODE * point.ef_search


def climb(
    lists: int,
    rerank: Sequence[int],
    hnsw: bool,
    recall_of: Callable[[OperatingPoint], float],
    recall_target: float | None = None,
) -> None:
    """Measures points from few lists, candidates and nodes to many, and leaves out what would show nothing.

    At each power of two of lists, candidates and nodes grow until a step gains nothing; the climb ends after two powers
    that gained nothing, unless there is a target that is not reached.

    Args:
        lists: inverted lists; 0 for a Flat index.
        rerank: see `OperatingPoint`; rising.
        hnsw: whether a graph finds the nearest centroids.
        recall_of: measures a point and gives its recall@10; is called once a point.
        recall_target: of the caller.
    """
    best, idle = 0.0, 0
    for nprobe in [1 << power for power in range(_MOST_LISTS.bit_length()) if 1 << power <= lists] or [0]:
        reached = 0.0
        for ef_search in _ef_searches(nprobe, lists) if hnsw else [0]:
            here = _climb_candidates(nprobe, ef_search, rerank, recall_of)
            gained, reached = here - reached, max(here, reached)
            if gained < _GAIN:
                break
        idle = idle + 1 if reached < best + _GAIN else 0
        best = max(best, reached)
        if idle == 2 and (recall_target is None or best >= recall_target):
            return


def _climb_candidates(
    nprobe: int, ef_search: int, rerank: Sequence[int], recall_of: Callable[[OperatingPoint], float]
) -> float:
    reached = -1.0
    for factor in rerank:
        here = recall_of(OperatingPoint(nprobe, factor, ef_search))
        gained, reached = here - reached, max(here, reached)
        if gained < _GAIN:
            break
    return reached


def _ef_searches(nprobe: int, lists: int) -> list[int]:
    return sorted({min(lists, max(_LEAST_EF, nprobe) * factor) for factor in _EF_FACTORS})


def pareto(points: Sequence[MeasuredPoint]) -> list[MeasuredPoint]:
    """Those that no other point beats in recall@10 at no more cost, cheapest first."""
    front: list[MeasuredPoint] = []
    for each in sorted(points, key=lambda each: (each.cost, -each.recall["10"], _order(each.point))):
        if not front or each.recall["10"] > front[-1].recall["10"]:
            front.append(each)
    return front


def choose(points: Sequence[MeasuredPoint], recall_target: float | None) -> tuple[MeasuredPoint, bool | None]:
    """The point to serve at: the cheapest whose recall@10 reaches the target, else the best of all.

    Without a target, the cheapest whose recall@10 is within 0.005 of the best.

    Returns:
        The point, and whether it reaches the target; None without one.
    """
    front = pareto(points)
    best = front[-1].recall["10"]
    enough = best - _CLOSE_ENOUGH if recall_target is None else recall_target
    chosen = next((each for each in front if each.recall["10"] >= enough), front[-1])
    return chosen, None if recall_target is None else best >= recall_target


def _order(point: OperatingPoint) -> tuple[int, int, int]:
    return point.nprobe, point.rerank, point.ef_search
