"""Who is dropped for whom: nobody is dropped for an item that it is not itself a duplicate of.

Duplicates chain: A is like B and B like C, and A is not like C. So a component is covered greedily. The most preferred
member that is still open is kept, and takes the open members that are linked to it, by an edge of their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from dedupe.keeper import order_of

BYTES, PIXELS = 0, 1  # The tiers within a class: equal content, equal pixels.
NO_TIER = -1
KEEPER, DROPPED, PROTECTED = 0, 1, 2
_STEPS = 1 << 20  # Scores are added up as whole steps of this size: a float sum would depend on the order of the edges.


@dataclass(frozen=True)
class Cover:
    """What becomes of each member, aligned with the members.

    Attributes:
        role: int8 [m]: KEEPER, DROPPED, or PROTECTED: kept, although a keeper was preferred to it.
        keeper: int64 [m]: the index of the member that is kept for it; of every member that is kept, its own.
        duplicate_of: int64 [m]: of a dropped or protected member, the keeper that it is like; else itself.
        tier: int8 [m], score: float32 [m]: of the edge to `duplicate_of`; NO_TIER and NaN where that is itself.
    """

    role: np.ndarray
    keeper: np.ndarray
    duplicate_of: np.ndarray
    tier: np.ndarray
    score: np.ndarray


def cover(
    members: pa.Table,
    edges: pa.Table,
    ignored: np.ndarray | None = None,
    across: bool = False,
) -> Cover:
    """Greedy in the order of preference. Time is near-linear in members and edges, however large a class.

    Args:
        members: the members of any number of whole components: `row` (int64, unique), `order` (binary, see
            `dedupe.keeper.order_keys`; ties by `row`), `order_after` where the policy asks for the medoid, `klass`
            (uint64: of equal pixels), `content` (uint64: of equal bytes), `group_value` (int32, -1: none), `protected`
            (bool), and `weight` (int64: items that a member stands for), where that is not 1.
        edges: between classes of members, accepted: `a`, `b` (uint64), `tier` (int8), `score` (float32), in either
            direction. Of several between two classes the cheapest tier counts, then the highest score.
        ignored: int64 [p, 2] of rows that people found to be different; rows of no member are passed over.
        across: only members of different `group_value` are duplicates of one another; -1 is a value like others.
    """
    rows = members["row"].to_numpy()
    klasses, klass = np.unique(members["klass"].to_numpy(), return_inverse=True)
    graph = _Graph.of(klasses, edges)
    order = _preferred_first(members, klass, graph)
    groups = members["group_value"].to_numpy() if across else np.zeros(len(rows), np.int32)
    protected = members["protected"].to_numpy()
    greedy = _Greedy(order, klass, groups, protected, graph, across, _partners(rows, ignored))
    greedy.run()
    return greedy.result(members["content"].to_numpy())


@dataclass(frozen=True)
class _Graph:
    """Neighbours of each class: `to[start[k]:start[k + 1]]`, with `tier` and `score` beside them."""

    start: np.ndarray
    to: np.ndarray
    tier: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, klasses: np.ndarray, edges: pa.Table) -> _Graph:
        ends = [_places(klasses, edges[name].to_numpy()) for name in ("a", "b")]
        low, high = np.minimum(*ends), np.maximum(*ends)
        tier = edges["tier"].to_numpy().astype(np.int8)
        score = edges["score"].to_numpy().astype(np.float32)
        pair = low * len(klasses) + high
        best = np.lexsort((-score, tier, pair))
        best = best[low[best] != high[best]]
        best = best[np.diff(pair[best], prepend=-1) != 0]
        source = np.concatenate([low[best], high[best]])
        target = np.concatenate([high[best], low[best]])
        by_source = np.argsort(source * len(klasses) + target)
        start = np.searchsorted(source[by_source], np.arange(len(klasses) + 1))
        twice = np.concatenate([best, best])[by_source]
        return cls(start, target[by_source], tier[twice], score[twice])


def _places(klasses: np.ndarray, ends: np.ndarray) -> np.ndarray:
    places = np.searchsorted(klasses, ends)
    if len(ends) and (not len(klasses) or (klasses[np.minimum(places, len(klasses) - 1)] != ends).any()):
        raise ValueError("an edge leads to a class of no member; give cover() whole components")
    return places


def _preferred_first(members: pa.Table, klass: np.ndarray, graph: _Graph) -> np.ndarray:
    """int64 [m]: the members in the order of the policy."""
    if "order_after" not in members.column_names:
        return order_of(members["order"], members["row"])
    weights = members["weight"].to_numpy() if "weight" in members.column_names else None
    sizes = np.bincount(klass, weights=weights, minlength=len(graph.start) - 1)
    source = np.repeat(np.arange(len(sizes)), np.diff(graph.start))
    steps = np.rint(graph.score.astype(np.float64) * _STEPS)
    alike = np.bincount(source, weights=steps * sizes[graph.to], minlength=len(sizes)) + (sizes - 1) * float(_STEPS)
    return order_of(members["order"], pa.array(-alike[klass]), members["order_after"], members["row"])


def _partners(rows: np.ndarray, ignored: np.ndarray | None) -> dict[int, set[int]]:
    """For each member of an ignored pair, the members that it must not be dropped for."""
    partners: dict[int, set[int]] = defaultdict(set)
    if ignored is not None and len(ignored) and len(rows):
        by_row = np.argsort(rows)
        places = np.minimum(np.searchsorted(rows, ignored, sorter=by_row), len(rows) - 1)
        found = by_row[places]
        here = (rows[found] == ignored).all(axis=1)
        for one, other in found[here].tolist():
            partners[one].add(other)
            partners[other].add(one)
    return partners


class _Greedy:
    """The walk. Members wait by class and group, in lists that lose whoever was taken, so that none is looked at
    twice but those whom a keeper was told to leave."""

    def __init__(
        self,
        order: np.ndarray,
        klass: np.ndarray,
        groups: np.ndarray,
        protected: np.ndarray,
        graph: _Graph,
        across: bool,
        partners: dict[int, set[int]],
    ) -> None:
        self._order, self._graph, self._across, self._partners = order, graph, across, partners
        self._klass, self._groups, self._protected = klass.tolist(), groups.tolist(), protected.tolist()
        self._waiting: list[dict[int, list[int]]] = [{} for _ in range(len(graph.start) - 1)]
        together = order[np.lexsort((groups[order], klass[order]))]
        new_klass = np.diff(klass[together], prepend=-1) != 0
        starts = np.flatnonzero(new_klass | (np.diff(groups[together], prepend=0) != 0))
        members = together.tolist()
        for start, end in pairwise([*starts.tolist(), len(members)]):
            first = members[start]
            self._waiting[self._klass[first]][self._groups[first]] = members[start:end]
        self._done: set[tuple[int, int]] = set()
        self._keeps = [False] * len(order)
        self._kept_for = list(range(len(order)))
        self._edge = [-1] * len(order)  # Within the class: -1.

    def run(self) -> None:
        for member in self._order.tolist():
            taken = self._kept_for[member] != member
            if taken and not self._protected[member]:
                continue
            self._keeps[member] = True
            place = (self._klass[member], self._groups[member])
            if place not in self._done and self._take(member, *place):
                self._done.add(place)

    def _take(self, keeper: int, klass: int, group: int) -> bool:
        """Takes who waits in reach; false where somebody had to be left, whom the next of this class may take."""
        whole = self._take_from(keeper, klass, -1, group)
        start, end = self._graph.start[klass : klass + 2].tolist()
        for edge, other in enumerate(self._graph.to[start:end].tolist(), start):
            if self._waiting[other]:
                whole &= self._take_from(keeper, other, edge, group)
        return whole

    def _take_from(self, keeper: int, klass: int, edge: int, group: int) -> bool:
        waiting, whole = self._waiting[klass], True
        apart = self._partners.get(keeper, ())
        itself = self._kept_for[keeper] == keeper
        for value in list(waiting):
            if self._across and value == group:
                continue
            left = []
            for member in waiting.pop(value):
                # Who is himself like another keeper takes nobody who stays anyway: such a group would have no keeper.
                if member in apart or (self._protected[member] and not itself):
                    left.append(member)
                elif not self._keeps[member]:
                    self._kept_for[member], self._edge[member] = keeper, edge
            if left:
                waiting[value], whole = left, False
        return whole

    def result(self, content: np.ndarray) -> Cover:
        """Of uint64 [m], the content of each member."""
        like = np.array(self._kept_for, np.int64)
        edge = np.array(self._edge, np.int64)
        protected = np.array(self._protected, bool)
        noted = like != np.arange(len(like))
        dropped = noted & ~protected
        takes = np.bincount(like[dropped], minlength=len(like)) > 0
        role = np.select([dropped, noted & ~takes], [DROPPED, PROTECTED], KEEPER).astype(np.int8)
        tier = np.full(len(like), NO_TIER, np.int8)
        score = np.full(len(like), np.nan, np.float32)
        inside, outside = noted & (edge < 0), noted & (edge >= 0)
        tier[inside] = np.where(content[inside] == content[like[inside]], BYTES, PIXELS)
        score[inside] = 1
        tier[outside], score[outside] = self._graph.tier[edge[outside]], self._graph.score[edge[outside]]
        keeper = np.where(dropped, like, np.arange(len(like)))
        return Cover(role, keeper, like, tier, score)
