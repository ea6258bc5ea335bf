"""All pairs of alike pictures in one list.

Blocks of pictures meet in tiles, so memory does not grow with the list. Of each tile a product of matrices
says which pairs are worth a closer look, and those are scored exactly. A picture in a dense cluster has a limited
number of pairs, and its pairs with the pictures that are preferred as keepers. Which ones those are does not depend on
the thresholds: a higher threshold gives those pairs of a lower one that pass it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dedupe.list_entries import Entries, parts_of
from dedupe.scoring import Scoring

__all__ = ["PAIRS", "Entries", "JoinOptions", "join_list"]

#: The pairs of a list.
PAIRS = pa.schema(
    [
        pa.field("row_a", pa.int64(), nullable=False),
        pa.field("row_b", pa.int64(), nullable=False),
        pa.field("thumbnail", pa.float32(), nullable=False),
        pa.field("combined", pa.float32(), nullable=False),
    ]
)
# What rounding may take off a float32 estimate of a cosine.
_SLACK = 1e-5
# Thumbnails alone say which pairs to look at, where that leaves few.
_LEAST_THUMBNAIL = 0.2
# From this share of a tile on, scoring all of it is cheaper than gathering the pairs.
_DENSE = 0.02


@dataclass(frozen=True)
class JoinOptions:
    """How a list is joined.

    Attributes:
        scoring: of the descriptors.
        neighbours: pairs that a picture has for itself: its strongest.
        keepers: pictures, lowest in order, that have all their pairs.
        max_list: pictures that are compared with each other; a list with more is split.
        lead: a pair's strength is its combination, or its thumbnail's cosine less this, whichever is larger. Runs of
            different thresholds agree where this is the same.
        tile: pictures of a block.
        held: pairs that are held before the weakest are dropped.
        seed: of the k-means that splits a list.
    """

    scoring: Scoring
    neighbours: int = 100
    keepers: int = 64
    max_list: int = 16_384
    lead: float = 0.07
    tile: int = 1_024
    held: int = 2_000_000
    seed: int = 0


def join_list(entries: Entries, thumbnail_threshold: float, threshold: float, options: JoinOptions) -> pa.Table:
    """The pairs of a list.

    A pair's scores are the best over the views of the one with view 0 of the other and the other way round, as far as
    the list holds them. Of pictures of equal klass the lowest row stands for all.

    Args:
        entries: in any order.
        thumbnail_threshold: pairs whose thumbnails have this cosine are returned,
        threshold: and those whose combination, less the mean of the two offsets, is this.
        options: see there.

    Returns:
        `PAIRS`, ordered by rows, each pair once, row_a < row_b, at least one of them new.
    """
    parts = parts_of(entries.distinct(), options.scoring, options.max_list, options.keepers, options.seed)
    pairs = _Pairs.together(
        [_join_part(part, thumbnail_threshold, threshold, options) for part in parts if len(part.row)]
    ).best()
    return pa.table([pairs.a, pairs.b, pairs.thumbnail, pairs.combined], schema=PAIRS)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of pictures: int64 [n] twice, a < b; float32 [n] twice."""

    a: np.ndarray
    b: np.ndarray
    thumbnail: np.ndarray
    combined: np.ndarray

    def take(self, chosen: np.ndarray) -> _Pairs:
        return _Pairs(self.a[chosen], self.b[chosen], self.thumbnail[chosen], self.combined[chosen])

    @classmethod
    def together(cls, many: list[_Pairs]) -> _Pairs:
        none = cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32))
        return cls(
            *(
                np.concatenate([getattr(each, name) for each in (none, *many)])
                for name in ("a", "b", "thumbnail", "combined")
            )
        )

    def best(self) -> _Pairs:
        """Each pair once, with its best scores, ordered."""
        if len(self.a) == 0:
            return self
        pairs = self.take(np.lexsort((self.b, self.a)))
        first = np.flatnonzero(np.r_[True, (pairs.a[1:] != pairs.a[:-1]) | (pairs.b[1:] != pairs.b[:-1])])
        scores = [np.maximum.reduceat(each, first) for each in (pairs.thumbnail, pairs.combined)]
        return _Pairs(pairs.a[first], pairs.b[first], *scores)

    def strength(self, lead: float) -> np.ndarray:
        """float32 [n]"""
        return np.maximum(self.combined, self.thumbnail - np.float32(lead))


def _join_part(entries: Entries, thumbnail_threshold: float, threshold: float, options: JoinOptions) -> _Pairs:
    """Pairs of rows, of a part of a list: entries ordered by row and view."""
    rows = np.unique(entries.row)
    blocks = [_Block(entries, rows, start, options) for start in range(0, len(rows), options.tile)]
    strongest = _Strongest(np.isin(rows, entries.preferred(options.keepers)), options)
    # A pair that passes is at least so strong; all that are as strong are needed to say which are a picture's best.
    least = min(threshold, thumbnail_threshold - options.lead)
    for at, left in enumerate(blocks):
        for right in blocks[at:]:
            if left.new.any() or right.new.any():
                strongest.add(_tile(left, right, least, options))
    pairs = strongest.pairs()
    passing = (pairs.thumbnail >= np.float32(thumbnail_threshold)) | (pairs.combined >= np.float32(threshold))
    pairs = pairs.take(np.flatnonzero(passing))
    return _Pairs(rows[pairs.a], rows[pairs.b], pairs.thumbnail, pairs.combined)


class _Strongest:
    """Collects pairs, and lets go of those that are among the strongest of neither picture."""

    def __init__(self, preferred: np.ndarray, options: JoinOptions) -> None:
        """
        Args:
            preferred: bool, of each picture: all of its pairs stay.
            options: of the join.
        """
        self._preferred, self._options = preferred, options
        self._floor = np.full(len(preferred), -np.inf, np.float32)
        self._kept: list[_Pairs] = []
        self._waiting = 0

    def add(self, pairs: _Pairs) -> None:
        """Each pair comes once."""
        strength = pairs.strength(self._options.lead)
        wanted = (strength >= np.minimum(self._floor[pairs.a], self._floor[pairs.b])) | self._stays(pairs)
        self._kept.append(pairs.take(np.flatnonzero(wanted)))
        self._waiting += len(self._kept[-1].a)
        if self._waiting > self._options.held:
            self._kept, self._waiting = [self.pairs()], 0

    def _stays(self, pairs: _Pairs) -> np.ndarray:
        return self._preferred[pairs.a] | self._preferred[pairs.b]

    def pairs(self) -> _Pairs:
        """What is left."""
        pairs, most = _Pairs.together(self._kept), self._options.neighbours
        count = len(pairs.a)
        picture, other = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
        sizes = np.bincount(picture, minlength=len(self._preferred))
        if sizes.max(initial=0) <= most:
            return pairs
        strength = np.tile(pairs.strength(self._options.lead), 2)
        order = np.lexsort((other, -strength, picture))
        begins = np.cumsum(sizes) - sizes
        rank = np.empty(2 * count, np.int64)
        rank[order] = np.arange(2 * count) - begins[picture[order]]
        full = np.flatnonzero(sizes >= most)
        self._floor[full] = strength[order[begins[full] + most - 1]]
        among = rank < most
        return pairs.take(np.flatnonzero(among[:count] | among[count:] | self._stays(pairs)))


class _Block:
    """The entries of some pictures that follow each other."""

    def __init__(self, entries: Entries, rows: np.ndarray, start: int, options: JoinOptions) -> None:
        mine = rows[start : start + options.tile]
        entries = entries.take(slice(*np.searchsorted(entries.row, [mine[0], mine[-1] + 1])))
        picture = np.searchsorted(mine, entries.row)
        self.new, self.offset = np.zeros(len(mine), bool), np.zeros(len(mine), np.float32)
        self.new[picture] = entries.new
        if entries.offset is not None:
            self.offset[picture] = entries.offset
        own = entries.view == 0
        self.start = start
        self.own = [_Side(entries.descriptor[own], picture[own], options.scoring)]
        views = np.flatnonzero(~own)
        pieces = [views[at : at + options.tile] for at in range(0, len(views), options.tile)]
        self.views = [_Side(entries.descriptor[piece], picture[piece], options.scoring) for piece in pieces]


class _Side:
    """Descriptors of a block that meet those of another.

    Attributes:
        descriptors: int8 [n, D].
        picture: int64 [n], whose they are: places in the block.
        squares: float32 [2, n], of both parts.
        thumbnail, embedding: float32 [n, ...], the parts at unit length, rounded.
    """

    def __init__(self, descriptors: np.ndarray, picture: np.ndarray, scoring: Scoring) -> None:
        self.descriptors, self.picture = descriptors, picture
        self.squares = scoring.squares(descriptors)
        self.thumbnail, self.embedding = (
            part / np.sqrt(np.maximum(square, 1))[:, None]
            for part, square in zip(scoring.parts(descriptors), self.squares, strict=True)
        )


def _tile(left: _Block, right: _Block, least: float, options: JoinOptions) -> _Pairs:
    """Pairs of two blocks' pictures that are at least so strong, by their places in the part; maybe some weaker."""
    meetings = [(left, one, right, other) for one in left.own + left.views for other in right.own]
    if left is not right:
        meetings += [(right, one, left, other) for one in right.views for other in left.own]
    return _Pairs.together([_meeting(*each, least, options) for each in meetings]).best()


def _meeting(left: _Block, one: _Side, right: _Block, other: _Side, least: float, options: JoinOptions) -> _Pairs:
    """Pairs of the descriptors of two sides, some of them from both ends."""
    scoring = options.scoring
    floor = least + float(min(left.offset.min(), right.offset.min()))
    worth = _worth_scoring(one, other, floor - _SLACK, least + options.lead - _SLACK, scoring)
    at, to = np.divmod(np.flatnonzero(worth), len(other.picture))  # Many times faster than nonzero on two axes.
    first, second = one.picture[at], other.picture[to]
    wanted = (first + left.start != second + right.start) & (left.new[first] | right.new[second])
    at, to, first, second = at[wanted], to[wanted], first[wanted], second[wanted]
    if len(at) > _DENSE * len(one.picture) * len(other.picture):
        thumbnail, combined = (scores[at, to] for scores in scoring.scores(one.descriptors, other.descriptors))
    else:
        thumbnail, combined = scoring.pair_scores(
            one.descriptors[at], one.squares[:, at], other.descriptors[to], other.squares[:, to]
        )
    offset = (left.offset[first].astype(np.float64) + right.offset[second]) / 2
    first, second = first + left.start, second + right.start
    low, high = np.minimum(first, second), np.maximum(first, second)
    return _Pairs(low, high, thumbnail, (combined - offset).astype(np.float32))


def _worth_scoring(one: _Side, other: _Side, combined: float, thumbnail: float, scoring: Scoring) -> np.ndarray:
    """bool [n, m]: those that may have such a combination, or such a cosine of the thumbnails."""
    cosines = one.thumbnail @ other.thumbnail.T
    # If the embeddings are equal, the thumbnails have to be so alike.
    needed = (combined - (1 - scoring.weight)) / scoring.weight if scoring.weight > 0 else -np.inf
    if min(needed, thumbnail) >= _LEAST_THUMBNAIL:
        return cosines >= np.float32(min(needed, thumbnail))
    both = scoring.weight * cosines + (1 - scoring.weight) * (one.embedding @ other.embedding.T)
    return (both >= np.float32(combined)) | (cosines >= np.float32(thumbnail))
