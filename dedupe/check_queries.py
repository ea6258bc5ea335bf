"""Pictures that are asked about, and which rows of a store may be like them: cheap, and never too few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dedupe.hash_guard import agree, tells
from dedupe.items import bytes_of, thumbnails_of
from dedupe.measure import Measure
from dedupe.placeholders import nearly_empty
from dedupe.settings import BYTES, PHASH, PIXELS, Settings
from dedupe.views import UNIT, view_matrix

#: What is read of a store for every row.
COLUMNS = ("content_hash", "pixel_hash", "phash", "phash_256", "thumbnail")
# A cosine of thumbnail parts that are not rounded to int8 differs from that of those that are by less.
_ROUNDING = 0.08
_TILE = 2_048
_QUERIES = 128


@dataclass(frozen=True)
class Pictures:
    """What pictures are told by.

    Attributes:
        content, pixels: uint64 [n, 2], of the hashes of bytes and pixels; zeros where there is none.
        phash: uint64 [n].
        phash_256: uint8 [n, 32], and has_256, bool [n], whether there is one.
        thumbnails: uint8 [n, 192].
        telling: bool [n], whether it can be told by its looks: it has a thumbnail that is not nearly empty.
    """

    content: np.ndarray
    pixels: np.ndarray
    phash: np.ndarray
    phash_256: np.ndarray
    has_256: np.ndarray
    thumbnails: np.ndarray
    telling: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> Pictures:
        """Of a table with `COLUMNS`."""
        thumbnails = thumbnails_of(table)
        pictured = ~np.asarray(table["thumbnail"].is_null())
        return cls(
            content=_words(table["content_hash"], 32),
            pixels=_words(table["pixel_hash"], 16),
            phash=table["phash"].fill_null(0).to_numpy().astype(np.uint64),
            phash_256=bytes_of(table["phash_256"], 32),
            has_256=~np.asarray(table["phash_256"].is_null()),
            thumbnails=thumbnails,
            telling=pictured & ~nearly_empty(thumbnails),
        )

    def __len__(self) -> int:
        return len(self.phash)


def _words(column: pa.ChunkedArray, width: int) -> np.ndarray:
    return np.ascontiguousarray(bytes_of(column, width)[:, :16]).view("<u8").reshape(-1, 2)


def same_pairs(queries: Pictures, base: Pictures, settings: Settings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a query and a row of `base` of equal bytes or pixels: int64 [p] and [p], and int8 [p] the tier."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8))]
    for number, one, other in ((BYTES, queries.content, base.content), (PIXELS, queries.pixels, base.pixels)):
        if settings.finds(number):
            rows = np.flatnonzero(np.isin(other[:, 0], one[:, 0]) & other.any(axis=1))
            query, row = np.nonzero((one[:, None] == other[rows][None]).all(axis=2))
            found.append((query, rows[row], np.full(len(query), number, np.int8)))
    query, row, tier = (np.concatenate(each) for each in zip(*found, strict=True))
    return query, row, tier


def near_hashes(
    queries: Pictures, base: Pictures, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a query and a row with near perceptual hashes: int64 [p] and [p], int16 [p] and [p] bits that differ, -1
    where one has no long hash. What `dedupe.multi_index` finds."""
    none = np.empty(0, np.int64)
    if not settings.finds(PHASH):
        return none, none, none.astype(np.int16), none.astype(np.int16)
    asking = np.flatnonzero(queries.telling & tells(queries.thumbnails))
    pairs = [(none, none)]
    for place in asking.tolist():
        rows = np.flatnonzero(np.bitwise_count(base.phash ^ queries.phash[place]) <= settings.phash_radius)
        pairs.append((np.full(len(rows), place), rows))
    query, row = (np.concatenate(each) for each in zip(*pairs, strict=True))
    kept = base.telling[row] & tells(base.thumbnails[row])
    query, row = query[kept], row[kept]
    both = queries.has_256[query] & base.has_256[row]
    apart = np.bitwise_count(queries.phash_256[query] ^ base.phash_256[row]).sum(axis=1, dtype=np.int16)
    apart = np.where(both, apart, np.int16(-1))
    kept = (apart <= settings.phash_256_radius) & agree(queries.thumbnails[query], base.thumbnails[row])
    query, row, apart = query[kept], row[kept], apart[kept]
    return query, row, np.bitwise_count(queries.phash[query] ^ base.phash[row]).astype(np.int16), apart


class ThumbnailSieve:
    """Which rows may have a thumbnail so like that of a query that a closer look is worth it.

    All views of a block of thumbnails are whitened by one product of matrices, unrounded.

    Args:
        measure: with a whitening of thumbnails.
        queries: the pictures that are asked about.
        least: cosine of the thumbnails from which a pair may count.
    """

    def __init__(self, measure: Measure, queries: Pictures, least: float) -> None:
        assert measure.thumbnail is not None
        mean, matrix = measure.thumbnail.mean.astype(np.float64), measure.thumbnail.matrix.astype(np.float64)
        views = [view_matrix(view).astype(np.float64) / UNIT @ matrix for view in measure.views]
        self._matrix = np.concatenate(views, axis=1).astype(np.float32)
        self._shift = np.tile(mean @ matrix, len(views)).astype(np.float32)
        self._views = len(views)
        self._least = least - _ROUNDING
        self._telling = queries.telling
        self._asked = self._units(queries.thumbnails)

    def _units(self, thumbnails: np.ndarray) -> np.ndarray:
        """float32 [n, views, k]: whitened views at unit length."""
        whitened = thumbnails.astype(np.float32) @ self._matrix - self._shift
        units = whitened.reshape(len(thumbnails), self._views, -1)
        lengths = np.sqrt(np.einsum("nvk,nvk->nv", units, units))[..., None]
        return units / np.maximum(lengths, np.float32(1e-6))

    def pairs(self, base: Pictures) -> tuple[np.ndarray, np.ndarray]:
        """int64 [p] and [p]: queries and rows of `base`."""
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        if self._least <= -1:
            return _all_pairs(np.flatnonzero(self._telling), np.flatnonzero(base.telling))
        for start in range(0, len(base), _TILE):
            units = self._units(base.thumbnails[start : start + _TILE])
            plain = np.ascontiguousarray(units[:, 0])
            flat = units.reshape(-1, units.shape[2])
            for first in range(0, len(self._asked), _QUERIES):
                asked = self._asked[first : first + _QUERIES]
                best = (flat @ asked[:, 0].T).reshape(len(units), self._views, -1).max(axis=1)
                for view in range(1, self._views):
                    np.maximum(best, plain @ asked[:, view].T, out=best)
                row, query = np.nonzero(best >= self._least)
                found.append((query + first, row + start))
        query, row = (np.concatenate(each) for each in zip(*found, strict=True))
        kept = self._telling[query] & base.telling[row]
        return query[kept], row[kept]


def _all_pairs(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(queries, len(rows)), np.tile(rows, len(queries))


def best_scores(
    measure: Measure, one: np.ndarray, other: np.ndarray, query: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pair the best scores over views, in both directions: float32 [p] and [p].

    Args:
        measure: of the descriptors.
        one, other: int8 [., V, D].
        query, row: int64 [p], places in them.
    """
    scoring, thumbnail, combined = measure.scoring, [], []
    for view in range(one.shape[1]):
        sides = [(one[query, view], other[row, 0])] + ([(one[query, 0], other[row, view])] if view else [])
        for left, right in sides:
            scores = scoring.pair_scores(left, scoring.squares(left), right, scoring.squares(right))
            thumbnail.append(scores[0])
            combined.append(scores[1])
    return np.max(thumbnail, axis=0), np.max(combined, axis=0)
