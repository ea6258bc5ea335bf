"""Thresholds by what they find and what they find wrongly.

A pair is reported when its thumbnails reach one threshold, or the combination reaches the other. What is found, edits
of the catalog's own pictures tell. What is wrong, pairs of a sample tell: the share of unrelated pairs that reach a
threshold is the same in the sample and in the catalog, however large that is.

The most alike pairs of a sample may be false ones, or duplicates that nobody knows of: nothing but a person can tell.
So there are two rates, one that counts them all, and one that goes on as the less alike pairs fall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dedupe.unrelated import STEP, THRESHOLDS, Unrelated, steps

# Counts of fewer pairs say little: beyond, a rate falls as it fell before.
_FEW, _SOME, _MANY = 10, 100, 1_000
# No tail is taken for steeper: so few pairs cannot show it.
_LEAST_DECAY = 0.02
# See `OperatingPoints.best`.
_WORTH = 0.5


@dataclass(frozen=True)
class Found:
    """The scores of pictures against an edit of them, pair by pair: float32 [n] each."""

    thumbnail: np.ndarray
    combined: np.ndarray


@dataclass(frozen=True)
class Catalog:
    """What a threshold is for.

    Attributes:
        vectors: pictures in the catalog.
        copies: how many edited copies of a picture there are in it, on average. Nobody knows before: an assumption.
    """

    vectors: int
    copies: float


@dataclass(frozen=True)
class Point:
    """Two thresholds and what they are expected to give in the catalog.

    Attributes:
        threshold: of the combination.
        thumbnail_threshold: of the thumbnail alone.
        recall: share of the edits that are found.
        precision: share of the reported pairs that are right, where a picture has `Catalog.copies` edited copies, and
            the most alike pairs of the sample are duplicates.
        least_precision: the same where they are not.
        false_pairs, most_false_pairs: how many wrong pairs there are then, either way.
    """

    threshold: float
    thumbnail_threshold: float
    recall: float
    precision: float
    least_precision: float
    false_pairs: float
    most_false_pairs: float


@dataclass(frozen=True)
class Curve:
    """One score alone, at each of `THRESHOLDS`: float64 [121] each. `most_false` and `false` are rates of pairs, and
    `least_precision` and `precision` what comes of them."""

    recall: np.ndarray
    false: np.ndarray
    most_false: np.ndarray
    precision: np.ndarray
    least_precision: np.ndarray


def most_false_rates(reached: np.ndarray, pairs: int) -> np.ndarray:
    """float64 [121]: the chance that an unrelated pair reaches each of `THRESHOLDS`, if all pairs that were seen are.

    Where fewer than ten pairs reach a threshold, it falls exponentially, by their mean excess over where a hundred did;
    pairs that were seen nevertheless count in any case. At 1 it is 0.

    Args:
        reached: int64 [121], pairs that reach each threshold.
        pairs: how many there are.
    """
    start, last = _last(reached, _SOME), _last(reached, _FEW)
    # The mean excess over a point is the integral of the survival function beyond it.
    excess = STEP * (reached[start + 1 :].sum() / max(1, reached[start]) + 0.5)
    tail = _falling(reached, last, excess)
    rates = np.where(np.arange(len(reached)) >= last, np.maximum(tail, reached), reached) / max(1, pairs)
    rates[-1] = 0  # What the measure cannot tell apart at all.
    return rates


def likely_false_rates(reached: np.ndarray, pairs: int) -> np.ndarray:
    """float64 [121], as `most_false_rates`: beyond where a hundred pairs reach a threshold it falls exponentially, as
    it fell from a thousand to a hundred, and pairs that are more alike than that do not count. Never more than
    `most_false_rates`; the same where there are too few pairs to see how they fall."""
    most = most_false_rates(reached, pairs)
    start = _last(reached, _MANY)
    end = _last(reached, max(_FEW, min(_SOME, int(reached[start]) // 10)))
    if end <= start or reached[end] == reached[start]:
        return most
    decay = (THRESHOLDS[end] - THRESHOLDS[start]) / np.log(reached[start] / reached[end])
    tail = _falling(reached, end, decay) / max(1, pairs)
    return np.where(THRESHOLDS[end] < THRESHOLDS, np.minimum(tail, most), most)


def _falling(reached: np.ndarray, start: int, decay: float) -> np.ndarray:
    """float64 [121]: pairs beyond a threshold, falling by e every `decay`."""
    return max(1, reached[start]) * np.exp(-(THRESHOLDS - THRESHOLDS[start]) / max(decay, _LEAST_DECAY))


def _last(reached: np.ndarray, least: int) -> int:
    """The last threshold that so many pairs reach, 0 where none does."""
    enough = np.nonzero(reached >= least)[0]
    return int(enough[-1]) if len(enough) else 0


def recall_table(found: Found) -> np.ndarray:
    """float64 [121, 121]: the share of pairs that reach threshold i by their thumbnails or threshold j by the
    combination."""
    size = len(THRESHOLDS)
    where = steps(found.thumbnail) * (size + 1) + steps(found.combined)
    counts = np.bincount(where, minlength=(size + 1) ** 2).reshape(size + 1, size + 1)
    missed = counts.cumsum(0).cumsum(1)[:size, :size]
    return 1 - missed / max(1, len(found.thumbnail))


def precision_of(recall: np.ndarray, rate: np.ndarray, catalog: Catalog) -> np.ndarray:
    """Of what is reported for a picture, the share that is right: its copies that are found, against other pictures
    that reach the threshold as well. 1 where nothing is reported."""
    right, wrong = catalog.copies * recall, rate * max(0, catalog.vectors - 1)
    return np.divide(right, right + wrong, out=np.ones_like(right), where=right + wrong > 0)


def curve(score: np.ndarray, reached: np.ndarray, pairs: int, catalog: Catalog) -> Curve:
    """One score alone: that of pictures against their edits, float32 [n], and of unrelated pairs."""
    found = np.bincount(steps(score), minlength=len(THRESHOLDS) + 1)[::-1].cumsum()[::-1][1:]
    recall = found / max(1, len(score))
    false, most = likely_false_rates(reached, pairs), most_false_rates(reached, pairs)
    return Curve(recall, false, most, precision_of(recall, false, catalog), precision_of(recall, most, catalog))


class OperatingPoints:
    """All pairs of thresholds, and what each gives."""

    def __init__(self, found: Found, unrelated: Unrelated, catalog: Catalog) -> None:
        self._vectors = catalog.vectors
        self._recall = recall_table(found)
        self._false, self._most = (
            # The sum counts pairs twice that reach both: on the safe side.
            np.minimum(
                1, rates(unrelated.thumbnail, unrelated.pairs)[:, None] + rates(unrelated.combined, unrelated.pairs)
            )
            for rates in (likely_false_rates, most_false_rates)
        )
        self._is_any = np.ones(self._recall.shape, bool)
        self._is_any[-1, -1] = False  # Only what the measure cannot tell apart at all.
        self._precision = precision_of(self._recall, self._false, catalog)
        self._least = precision_of(self._recall, self._most, catalog)

    def best(self, precision: float) -> Point | None:
        """The point that finds most edits with at least this precision, and of equals the one that finds fewest wrong
        pairs; None where no point has it. The precision is `least_precision`, or `precision` where the former costs
        more than half of the edits."""
        careful = self._best(self._least, self._most, precision)
        likely = self._best(self._precision, self._false, precision)
        if careful and likely:
            return careful if careful.recall >= _WORTH * likely.recall else likely
        return careful or likely

    def _best(self, known: np.ndarray, rates: np.ndarray, precision: float) -> Point | None:
        """As `best`, by one of the precisions, float64 [121, 121], and its rates."""
        good = np.nonzero((known >= precision) & (self._recall > 0) & self._is_any)
        if not len(good[0]):
            return None
        chosen = np.lexsort((good[1], good[0], rates[good], -self._recall[good]))[0]
        return self._point(int(good[0][chosen]), int(good[1][chosen]))

    def at(self, threshold: float, thumbnail_threshold: float) -> Point:
        """What any two thresholds give, each taken for the last of `THRESHOLDS` that it reaches, or for the first."""
        i, j = (max(0, int(steps(np.array([each]))[0]) - 1) for each in (thumbnail_threshold, threshold))
        return self._point(i, j)

    def highest_precision(self) -> float:
        """Of all points that find anything."""
        return float(self._precision[(self._recall > 0) & self._is_any].max(initial=0.0))

    def _point(self, i: int, j: int) -> Point:
        pairs = self._vectors * (self._vectors - 1) / 2
        return Point(
            float(THRESHOLDS[j]),
            float(THRESHOLDS[i]),
            *(round(float(table[i, j]), 5) for table in (self._recall, self._precision, self._least)),
            *(float(f"{table[i, j] * pairs:.4g}") for table in (self._false, self._most)),
        )
