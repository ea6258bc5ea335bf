"""What a list holds, and how one that holds too much is split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from dedupe.lists import NO_LIST, Lists
from dedupe.scoring import Scoring

# Parts that a picture goes to; a view goes to one.
_PROBES = 2
# Rows of a list that place one centroid of its parts.
_SAMPLE_PER_PART = 256
# Of a list that splitting leaves larger than this share of itself, the pictures are all alike: it is cut instead.
_LEAST_GAIN = 0.7


@dataclass(frozen=True)
class Entries:
    """Descriptors of pictures and their views, in one list.

    Attributes:
        row: int64 [n], of the picture.
        view: int8 [n], 0 for the picture itself.
        klass: uint64 [n]: rows of equal klass are the same picture.
        new: bool [n], of the row: pairs of two that are not new are not looked for.
        descriptor: int8 [n, D].
        order: uint64 [n], of the row: lower is preferred as a keeper; None for the row itself.
        offset: float32 [n], of the row: see `Measure.offsets`; None for none.
    """

    row: np.ndarray
    view: np.ndarray
    klass: np.ndarray
    new: np.ndarray
    descriptor: np.ndarray
    order: np.ndarray | None = None
    offset: np.ndarray | None = None

    def take(self, chosen: np.ndarray | slice) -> Entries:
        """The chosen ones: places, bool [n], or a run of places."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: array[chosen] for name, array in arrays.items() if array is not None})

    def distinct(self) -> Entries:
        """Of each klass the lowest row, without descriptors of zeros, ordered by row and view."""
        classes, place = np.unique(self.klass, return_inverse=True)
        lowest = np.full(len(classes), np.iinfo(np.int64).max)
        np.minimum.at(lowest, place, self.row)
        chosen = np.flatnonzero((self.row == lowest[place]) & (self.descriptor != 0).any(axis=1))
        return self.take(chosen[np.lexsort((self.view[chosen], self.row[chosen]))])

    def preferred(self, most: int) -> np.ndarray:
        """int64 [at most `most`]: the rows that are lowest in order."""
        rows, first = np.unique(self.row, return_index=True)
        order = rows if self.order is None else self.order[first]
        return rows[np.lexsort((rows, order))[:most]]


def parts_of(entries: Entries, scoring: Scoring, largest: int, keepers: int, seed: int) -> Iterator[Entries]:
    """The entries of a list, in parts of at most about `largest` pictures, so that alike ones share a part.

    Args:
        entries: ordered by row and view.
        scoring: of their descriptors.
        largest: pictures of a part.
        keepers: pictures, lowest in order, that every part holds where the pictures are too alike to be told apart.
        seed: of k-means.
    """
    own = entries.take(entries.view == 0)
    if len(own.row) <= largest:
        yield entries
        return
    count = -(-2 * _PROBES * len(own.row) // largest)
    sample = own.descriptor[np.linspace(0, len(own.row) - 1, min(len(own.row), count * _SAMPLE_PER_PART)).astype(int)]
    parts = Lists.train(sample, count, scoring, seed)
    assigned = parts.assign(entries.descriptor, _PROBES)
    assigned[entries.view > 0, 1:] = NO_LIST
    for part in range(len(parts.centroids)):
        chosen = (assigned == part).any(axis=1)
        size = int((chosen & (entries.view == 0)).sum())
        if size <= largest:
            yield entries.take(chosen)
        elif size < _LEAST_GAIN * len(own.row):
            yield from parts_of(entries.take(chosen), scoring, largest, keepers, seed)
        else:
            yield from _cut(entries.take(chosen), largest, keepers)


def _cut(entries: Entries, largest: int, keepers: int) -> Iterator[Entries]:
    """Runs of rows, and with each the rows that are lowest in order."""
    rows = np.unique(entries.row)
    common = np.isin(entries.row, entries.preferred(keepers))
    step = max(1, largest - keepers)
    for start in range(0, len(rows), step):
        mine = np.isin(entries.row, rows[start : start + step])
        yield entries.take(mine | common)
