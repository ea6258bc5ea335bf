"""How alike pictures are that are no duplicates: the rows of a sample, each against all others.

Real catalogs have near-duplicates in them, so not every pair of a sample is one of unrelated pictures. Left out are
pairs of one product, of the same bytes, of the same pixels, and those that the perceptual hash finds by itself. Others
that are duplicates stay and count as false: the estimates that come of it are then too careful, never too bold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupe.measure import Measure
from dedupe.scoring import Scoring, products, squares

STEP = 0.005
#: float64 [121]: the thresholds that are told apart. Below the first, too many unrelated pictures are alike.
THRESHOLDS = np.arange(80, 201) / 200
_FIRST = 80
_NEARLY = 1e-3  # Of a step: what a score may lack of a threshold, as it is kept in float32.
_ROWS, _COLUMNS = 1_024, 4_096  # Of a tile: 16 MB a matrix.
_ALIKE_BITS = 6  # Of 64: two pictures of which all but these are equal, ...
_ALIKE_LEVELS = 8  # ... with thumbnails this close, are found by their perceptual hashes.
_WHYS = ("product", "bytes", "pixels", "phash", "reviewed")


@dataclass(frozen=True)
class Closest:
    """A pair of the sample that counts as unrelated although it is alike: a false one, or a real duplicate."""

    item_id: str
    other_item_id: str
    thumbnail: float
    combined: float


@dataclass(frozen=True)
class Unrelated:
    """How often pairs of unrelated pictures are alike.

    Attributes:
        rows: of the sample.
        pairs: of them that were compared and count.
        thumbnail, combined: int64 [121], the pairs whose score is at least each of `THRESHOLDS`.
        left_out: pairs at or above the first threshold that do not count, by why: `product`, `bytes`, `pixels`,
            `phash`, `reviewed`.
        closest: the most alike, first by the better of their two scores.
    """

    rows: int
    pairs: int
    thumbnail: np.ndarray
    combined: np.ndarray
    left_out: dict[str, int]
    closest: tuple[Closest, ...]


def steps(scores: np.ndarray) -> np.ndarray:
    """int64 [n]: how many of `THRESHOLDS` each score reaches."""
    reached = np.floor(np.asarray(scores, np.float64) / STEP + _NEARLY).astype(np.int64) - _FIRST + 1
    return np.clip(reached, 0, len(THRESHOLDS))


def best_scores(scoring: Scoring, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of pairs, the best over all views of either picture against the other as it is; within a millionth of
    what `Scoring.scores` gives, at a fraction of its cost.

    Args:
        one: int8 [n, V, D]; view 0 is the picture itself.
        other: int8 [m, V, D].

    Returns:
        float32 [n, m] by the thumbnail, float32 [n, m] by the combination.
    """
    (looks, vectors), (other_looks, other_vectors) = scoring.parts(one), scoring.parts(other)
    thumbnail = _best_cosines(looks, other_looks[:, 0])
    np.maximum(thumbnail, _best_cosines(other_looks[:, 1:], looks[:, 0]).T, out=thumbnail)
    combined = _best_cosines(vectors[:, :1], other_vectors[:, 0])
    combined *= 1 - scoring.weight
    combined += np.float32(scoring.weight) * thumbnail
    return thumbnail, combined


def _best_cosines(views: np.ndarray, base: np.ndarray) -> np.ndarray:
    """float32 [n, m]: of int8 [n, V, d] and int8 [m, d] the best over the views; 0 for what has no length, -1 where
    there is no view."""
    best = np.full((len(views), len(base)), -1, np.float32)
    lengths = _inverse_lengths(base)
    for view in range(views.shape[1]):
        here = products(views[:, view], base)
        here *= _inverse_lengths(views[:, view])[:, None]
        here *= lengths
        np.maximum(best, here, out=best)
    return best


def _inverse_lengths(rows: np.ndarray) -> np.ndarray:
    length = np.sqrt(squares(rows))
    return np.divide(np.float32(1), length, out=np.zeros_like(length), where=length > 0)


def compare_unrelated(
    measure: Measure,
    descriptors: np.ndarray,
    rows: pa.Table,
    same: Collection[tuple[str, str]] = (),
    closest: int = 50,
) -> Unrelated:
    """Compares the rows of a sample with each other.

    Args:
        descriptors: int8 [n, V, D] of the rows.
        rows: `item_id`, `product_id`, `content_hash`, `pixel_hash`, `phash` and `thumbnail` of each; the first three
            hashes and ids may be null.
        same: item ids of pairs that a person found to be the same picture, in either order.
        closest: how many of the most alike pairs to name.
    """
    known = _Known(rows, same)
    counts = np.zeros((2, len(THRESHOLDS) + 1), np.int64)
    left_out = dict.fromkeys(_WHYS, 0)
    top = np.empty((0, 2), np.int64), np.empty((0, 2), np.float32)
    for first in range(0, len(descriptors), _ROWS):
        for start in range(first, len(descriptors), _COLUMNS):
            scores = best_scores(
                measure.scoring, descriptors[first : first + _ROWS], descriptors[start : start + _COLUMNS]
            )
            alike = np.maximum(*scores) >= THRESHOLDS[0] - STEP * _NEARLY
            i, j = np.nonzero(alike)
            later = i + first < j + start
            i, j = i[later], j[later]
            pairs, found = np.stack([i + first, j + start], 1), np.stack([each[i, j] for each in scores], 1)
            why = known.why_related(pairs)
            for number, name in enumerate(left_out, start=1):
                left_out[name] += int((why == number).sum())
            pairs, found = pairs[why == 0], found[why == 0]
            for number in range(2):
                counts[number] += np.bincount(steps(found[:, number]), minlength=counts.shape[1])
            top = _most_alike(np.concatenate([top[0], pairs]), np.concatenate([top[1], found]), closest)
    reached = np.cumsum(counts[:, ::-1], 1)[:, ::-1][:, 1:]
    total = len(descriptors) * (len(descriptors) - 1) // 2 - sum(left_out.values())
    ids = rows["item_id"].to_pylist()
    named = tuple(
        Closest(ids[a], ids[b], round(float(thumbnail), 4), round(float(combined), 4))
        for (a, b), (thumbnail, combined) in zip(top[0].tolist(), top[1].tolist(), strict=True)
    )
    return Unrelated(len(descriptors), total, reached[0], reached[1], left_out, named)


def _most_alike(pairs: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -scores.max(1, initial=-1)))[:most]
    return pairs[order], scores[order]


class _Known:
    """What is known of the rows of a sample beside how they look to the measure."""

    def __init__(self, rows: pa.Table, same: Collection[tuple[str, str]]) -> None:
        self._equals = [_codes(rows[name]) for name in ("product_id", "content_hash", "pixel_hash")]
        self._phash = rows["phash"].to_numpy().astype(np.uint64)
        thumbnails = np.frombuffer(b"".join(rows["thumbnail"].to_pylist()), np.uint8).reshape(len(rows), -1)
        # Only the differences between the parts of a picture count, not how bright it is.
        self._thumbnails = thumbnails - thumbnails.mean(1, keepdims=True, dtype=np.float32)
        places = {item_id: row for row, item_id in enumerate(rows["item_id"].to_pylist())}
        asked = [sorted((places[a], places[b])) for a, b in same if a in places and b in places]
        self._size = len(rows)
        self._same = np.array([a * self._size + b for a, b in asked], np.int64)

    def why_related(self, pairs: np.ndarray) -> np.ndarray:
        """int64 [n]: for pairs int64 [n, 2] of rows, the lower first, 0 if they are unrelated, else the place, from 1
        on, of why not in `_WHYS`."""
        why = np.zeros(len(pairs), np.int64)
        one, other = pairs.T
        for number, codes in enumerate(self._equals, start=1):
            why[(why == 0) & (codes[one] == codes[other]) & (codes[one] >= 0)] = number
        near = np.nonzero((why == 0) & (_bits(self._phash[one] ^ self._phash[other]) <= _ALIKE_BITS))[0]
        levels = np.abs(self._thumbnails[one[near]] - self._thumbnails[other[near]]).mean(1)
        why[near[levels <= _ALIKE_LEVELS]] = 4
        why[(why == 0) & np.isin(one * self._size + other, self._same)] = 5
        return why


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """int64 [n]: equal for equal values, -1 for null."""
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, np.int64)
    codes = column.combine_chunks().dictionary_encode().indices
    return pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _bits(hashes: np.ndarray) -> np.ndarray:
    """int64 [n]: the bits that are set in uint64 [n]."""
    return np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).sum(1)
