"""What groups of a dataset share: splits that leak into one another, vendors that sell one picture.

Counted from every accepted edge. Counted from the items that are kept, or from the nearest one only, leaks are missed:
an item's duplicate in the test split may not be the duplicate that it is compared with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from catalog.errors import UsageError

MOST_GROUPS = 1_000  # A matrix of a million cells; nobody reads a larger one.
_AT_ONCE = 1 << 21  # Cells of classes, or of what they reach, that are held at a time.


@dataclass(frozen=True)
class Leakage:
    """Counts that add up over components.

    Attributes:
        items: int64 [g, g]: `items[a, b]` of the items of group a have a duplicate in b; for a = b, another item of a.
        pairs: int64 [g, g], symmetric: pairs of duplicates, one in a and one in b.
    """

    items: np.ndarray
    pairs: np.ndarray

    @classmethod
    def nothing(cls, groups: int) -> Leakage:
        """Of no component."""
        return cls(np.zeros((groups, groups), np.int64), np.zeros((groups, groups), np.int64))

    def __add__(self, other: Leakage) -> Leakage:
        return Leakage(self.items + other.items, self.pairs + other.pairs)

    def shares(self, totals: np.ndarray) -> np.ndarray:
        """float64 [g, g]: `items` as shares of int64 [g], all the items of each group; 0 for a group of none."""
        return np.asarray(self.items / np.maximum(totals, 1)[:, None])


def check_groups(groups: int, what: str) -> None:
    """Refuses a matrix that nobody can read. `what` says where the groups come from: `--group-column vendor`."""
    if groups > MOST_GROUPS:
        raise UsageError(f"{what} has {groups:,} values; a leakage matrix holds at most {MOST_GROUPS:,}")


def leakage(
    row: np.ndarray,
    klass: np.ndarray,
    group_value: np.ndarray,
    edges: np.ndarray,
    groups: int,
    ignored: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> Leakage:
    """Of any number of whole components: items are duplicates that are of one class, or of two that have an edge.

    Args:
        row: int64 [m], unique.
        klass: uint64 [m].
        group_value: int32 [m], below `groups`; items of -1, no group, are not counted.
        edges: uint64 [e, 2] of classes, all that were accepted, in either direction, any number of times.
        ignored: int64 [p, 2] of rows that people found to be different, of weight 1; rows of no member are passed over.
        weight: int64 [m], items of the same class and group that each row stands for; None for one each.
    """
    weight = np.ones(len(row), np.int64) if weight is None else weight
    weight = weight[group_value >= 0]
    counted = group_value >= 0
    row, group_value = row[counted], group_value[counted].astype(np.int64)
    klasses, place = np.unique(klass[counted], return_inverse=True)
    if not len(row):
        return Leakage.nothing(groups)
    counts = _Counts.of(place, group_value, weight, groups, _links(klasses, edges))
    result = counts.leakage()
    if ignored is not None and len(ignored):
        result = result + counts.of_pairs(place, group_value, _found(row, ignored))
    return result


def label_conflicts(group: np.ndarray, label: pa.Array) -> pa.Table:
    """Groups of duplicates whose members have more than one label: at most one of them is right.

    Args:
        group: int64 [n], of whole groups.
        label: text [n]; null is no label, and contradicts none.

    Returns:
        A row for each label of such a group: `group` (int64), `label`, `items` (int64), sorted by the first two.
    """
    table = pa.table({"group": group, "label": label.cast(pa.string())})
    counted = table.filter(table["label"].is_valid()).group_by(["group", "label"]).aggregate([([], "count_all")])
    counted = counted.rename_columns(["group", "label", "items"])
    _, place, labels = np.unique(counted["group"].to_numpy(), return_inverse=True, return_counts=True)
    several = counted.filter(pa.array(labels[place] > 1))
    return several.sort_by([("group", "ascending"), ("label", "ascending")])


def _links(klasses: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """int64 [l, 2] of places, sorted: every class to itself, and each edge in both directions, once."""
    own = np.repeat(np.arange(len(klasses))[:, None], 2, axis=1)
    if not len(edges):
        return own
    places = np.minimum(np.searchsorted(klasses, edges), len(klasses) - 1)
    places = places[(klasses[places] == edges).all(axis=1)]  # A class of which no item has a group is not here.
    one, other = np.concatenate([own, places, places[:, ::-1]]).T
    return np.stack(np.divmod(_once(one * len(klasses) + other), len(klasses)), axis=1)


def _found(row: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """int64 [f, 2]: the pairs of which both rows are here, as indices, each once, the smaller index first."""
    by_row = np.argsort(row)
    index = by_row[np.minimum(np.searchsorted(row, pairs, sorter=by_row), len(row) - 1)]
    index = index[(row[index] == pairs).all(axis=1) & (index[:, 0] != index[:, 1])]
    return np.unique(np.sort(index, axis=1), axis=0)


@dataclass(frozen=True)
class _Counts:
    """Items by class and group: the cells `start[k]` to `start[k + 1]` are those of class k. And the links."""

    start: np.ndarray
    group: np.ndarray
    items: np.ndarray
    groups: int
    links: np.ndarray

    @classmethod
    def of(
        cls, place: np.ndarray, group_value: np.ndarray, weight: np.ndarray, groups: int, links: np.ndarray
    ) -> _Counts:
        cells, cell = np.unique(place * groups + group_value, return_inverse=True)
        items = np.zeros(len(cells), np.int64)
        np.add.at(items, cell, weight)
        start = np.searchsorted(cells // groups, np.arange(place.max() + 2))
        return cls(start, cells % groups, items, groups, links)

    def leakage(self) -> Leakage:
        """Of each class what it reaches, taken with the items of its own."""
        result = Leakage.nothing(self.groups)
        for begin, end in self._batches():
            klass, value, there = self._reach(begin, end)
            which, cell = _spread(self.start[klass], np.diff(self.start)[klass])
            others = there[which] - (self.group[cell] == value[which])
            at = self.group[cell] * self.groups + value[which]
            np.add.at(result.pairs.reshape(-1), at, self.items[cell] * others)
            np.add.at(result.items.reshape(-1), at, np.where(others > 0, self.items[cell], 0))
        return Leakage(result.items, _halved(result.pairs))

    def _batches(self) -> Iterator[tuple[int, int]]:
        """Ranges of links that have all those of a class, each of so many that what they reach fits in memory."""
        width = np.diff(self.start)
        source, target = self.links.T
        begins = np.flatnonzero(np.diff(source, prepend=-1))
        reached = np.add.reduceat(width[target], begins)
        work = np.maximum(reached, np.minimum(reached, self.groups) * width[source[begins]])
        cuts = begins[np.diff(np.cumsum(work) // _AT_ONCE, prepend=-1) != 0]
        cuts[:1] = 0
        yield from pairwise([*cuts.tolist(), len(source)])

    def _reach(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64 [r] each: a class, a group, and the items of the group in the class and those that it is linked with,
        over a range of links."""
        source, target = self.links[begin:end].T
        link, cell = _spread(self.start[target], np.diff(self.start)[target])
        keys = source[link] * self.groups + self.group[cell]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        return *np.divmod(keys[first], self.groups), np.add.reduceat(self.items[cell[order]], first)

    def of_pairs(self, place: np.ndarray, group_value: np.ndarray, pairs: np.ndarray) -> Leakage:
        """What is counted too much where these pairs, int64 [p, 2] of items, are none; as negative numbers."""
        result = Leakage.nothing(self.groups)
        gone: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for one, other in pairs.tolist():
            begin, end = self._links_of(place[one])
            if not (self.links[begin:end, 1] == place[other]).any():
                continue
            for item, partner in ((one, other), (other, one)):
                result.pairs[group_value[item], group_value[partner]] -= 1
                gone[item][int(group_value[partner])] += 1
        for item, values in gone.items():
            own = int(group_value[item])
            _, reached, there = self._reach(*self._links_of(place[item]))
            left = dict(zip(reached.tolist(), there.tolist(), strict=True))
            for value, count in values.items():
                result.items[own, value] -= left[value] - (value == own) == count
        return Leakage(result.items, _halved(result.pairs))

    def _links_of(self, klass: int) -> tuple[int, int]:
        begin, end = np.searchsorted(self.links[:, 0], [klass, klass + 1]).tolist()
        return begin, end


def _spread(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [sum of counts] each: of ranges one after the other, which one it is, and the places in it."""
    which = np.repeat(np.arange(len(starts)), counts)
    return which, np.arange(len(which)) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _once(values: np.ndarray) -> np.ndarray:
    """int64 [u], sorted, of values from 0 on; several times faster than `np.unique`, which hashes them."""
    values = np.sort(values)
    return values[np.diff(values, prepend=-1) != 0]


def _halved(ordered: np.ndarray) -> np.ndarray:
    """Ordered pairs as pairs: of two items of one group, both orders were counted."""
    pairs = ordered.copy()
    np.fill_diagonal(pairs, np.diagonal(ordered) // 2)
    return pairs
