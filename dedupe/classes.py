"""Pictures that are the same: what their pairs are, however the rows of the catalog were cut into stretches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupe.components import union_find
from dedupe.settings import BYTES, PHASH, PIXELS

_NOBODY = -1


@dataclass(frozen=True)
class Classes:
    """The classes of the members of some components; arrays are [m] in the order of the members.

    Attributes:
        pixels: int64, members of the same pixels have the same number.
        klass: int64, and so have those of equal perceptual hashes and thumbnails, which are as good as the same: of
            them only the lowest row was compared with others.
        content: uint64, of equal bytes.
        rank: int64, by preference: the smallest is preferred.
    """

    pixels: np.ndarray
    klass: np.ndarray
    content: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, pairs: pa.Table, content: np.ndarray, order: pa.Array) -> Classes:
        """Of members, by ascending rows, and the accepted pairs of whole components."""
        exact = np.asarray(pc.less_equal(pairs["tier"], PIXELS))
        twin = np.asarray(pc.fill_null(pairs["twin"], False)) & (pairs["tier"].to_numpy() == PHASH)
        places = np.asarray(pc.sort_indices(order))
        rank = np.empty(len(rows), np.int64)
        rank[places] = np.arange(len(rows))
        return cls(_joined(rows, pairs, exact), _joined(rows, pairs, exact | twin), content, rank)

    def tier(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """int8 [p]: what tells members of one class to be the same."""
        by_pixels = np.where(self.pixels[one] == self.pixels[other], PIXELS, PHASH)
        return np.where(self.content[one] == self.content[other], BYTES, by_pixels).astype(np.int8)

    def centres(self, groups: np.ndarray | None = None) -> np.ndarray:
        """int64 [m]: the most preferred member of the class of each; with `groups`, int32 [m], the most preferred of
        those of another group, -1 where there is none."""
        order = np.lexsort((self.rank, self.klass))
        begins = np.flatnonzero(np.diff(self.klass[order], prepend=-1))
        first = np.repeat(order[begins], np.diff(np.append(begins, len(order))))
        centre = np.empty(len(order), np.int64)
        centre[order] = first
        if groups is None:
            return centre
        differs = np.flatnonzero(groups[order] != groups[first])
        klasses, at = np.unique(self.klass[order][differs], return_index=True)
        place = np.minimum(np.searchsorted(klasses, self.klass), max(len(klasses) - 1, 0))
        second = np.full(len(order), _NOBODY, np.int64)
        if len(klasses):
            found = klasses[place] == self.klass
            second[found] = order[differs[at[place[found]]]]
        return np.where(groups != groups[centre], centre, second)


def _joined(rows: np.ndarray, pairs: pa.Table, chosen: np.ndarray) -> np.ndarray:
    """int64 [m]: the smallest row of those that the chosen pairs connect with each."""
    edges = np.stack([pairs["row_a"].to_numpy()[chosen], pairs["row_b"].to_numpy()[chosen]], axis=1)
    nodes, labels = union_find(edges)
    klass = rows.copy()
    klass[np.searchsorted(rows, nodes)] = labels
    return klass
