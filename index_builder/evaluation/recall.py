"""Recall: how many of a query's exact neighbours an index finds, where equals are equal and nothing finds itself.

Recall@k is the mean over the queries of the share of the k exact nearest items, the query's own item left out, that are
among the first k found, its own item left out. Catalogs are full of copies, so the k nearest are often not one set:

* Items as far away as the k-th neighbour stand for each other: with s items nearer than it, any k - s of its equals are
  right. An index that returns equals in place of nearer items does not gain by them.
* Distances are equal that differ by no more than float32 rounds: copies in two blocks of a matrix product can.
* Where the equals of the k-th neighbour run past the end of the ground truth, those beyond are not known. Only the s
  nearer items are counted then, and a query that has none (a placeholder image with hundreds of copies) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from index_builder.evaluation.ground_truth import DEPTH, Neighbours

# Relative to the distance and to the query's squared length, from which FAISS subtracts in order to get distances.
ROUNDING = 1e-6
# Queries compared at once: bounds the memory of a comparison of all found rows with all exact ones.
_QUERIES_AT_ONCE = 256
_RESAMPLES = 1_000
_DRAWN_AT_ONCE = 1 << 20
_SEED = 0x1C1
# Shares are added as integers, so that a sum does not depend on its order.
_SHARE_UNIT = 10**9


def drop_self(found: Neighbours, own: np.ndarray) -> Neighbours:
    """Each query's neighbours without its own row, or without the last where its own is not among them.

    Args:
        found: [q, k], -1 where there is none.
        own: int64 [q], the row of each query.

    Returns:
        [q, k - 1], in the same order, with no -1 before a row.
    """
    gone = (found.rows == own[:, None]) | (found.rows < 0)
    order = np.argsort(gone, axis=1, kind="stable")[:, : max(0, found.rows.shape[1] - 1)]
    rows = np.take_along_axis(np.where(gone, -1, found.rows), order, axis=1)
    return Neighbours(rows, np.take_along_axis(found.values, order, axis=1))


class Truth:
    """The exact neighbours of some queries, ready to be compared with what was found."""

    def __init__(self, exact: Neighbours, own: np.ndarray, queries: np.ndarray) -> None:
        """Of each query.

        Args:
            exact: [q, up to DEPTH], itself included; fewer than DEPTH are all that there are.
            own: int64 [q], its row.
            queries: float32 [q, d], prepared.
        """
        self._whole = (exact.rows >= 0).sum(axis=1) < DEPTH
        self._exact = drop_self(exact, own)
        self._own = own
        self._length = (queries.astype(np.float64) ** 2).sum(axis=1)

    def shares(self, found: Neighbours, depths: Sequence[int]) -> dict[int, np.ndarray]:
        """For each depth float64 [q], the share of the exact neighbours found; NaN where a query is left out.

        Args:
            found: [q, more than the deepest], the query's own row among them or not.
            depths: k of recall@k.
        """
        ranks = ranks_of(drop_self(found, self._own).rows, self._exact.rows)
        values = np.where(self._exact.rows >= 0, self._exact.values.astype(np.float64), np.nan)
        return {depth: self._shares(ranks[:, :depth], values, depth) for depth in depths}

    def _shares(self, ranks: np.ndarray, values: np.ndarray, depth: int) -> np.ndarray:
        known = np.isfinite(values).sum(axis=1)
        wanted = np.minimum(depth, known)
        if values.shape[1] == 0:
            return np.full(len(values), np.nan)
        last = np.take_along_axis(values, np.maximum(wanted - 1, 0)[:, None], axis=1)
        equal = np.abs(values - last) <= ROUNDING * (np.abs(last) + self._length[:, None])
        begin = np.where(wanted > 0, equal.argmax(axis=1), 0)
        end = begin + equal.sum(axis=1)
        endless = ~self._whole & (end == known) & (end - begin > 1)
        nearer = (ranks < begin[:, None]).sum(axis=1)
        equals = ((ranks >= begin[:, None]) & (ranks < end[:, None])).sum(axis=1)
        right = nearer + np.where(endless, 0, np.minimum(equals, wanted - begin))
        counted = np.where(endless, begin, wanted)
        return np.where(counted > 0, right / np.maximum(counted, 1), np.nan)


def ranks_of(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """int64 [q, f]: at which place of `exact` [q, m] each row of `found` [q, f] is; m where it is not, or is -1."""
    ranks = np.full(found.shape, exact.shape[1], np.int64)
    for start in range(0, len(found), _QUERIES_AT_ONCE):
        some = slice(start, start + _QUERIES_AT_ONCE)
        same = (found[some, :, None] == exact[some, None, :]) & (found[some, :, None] >= 0)
        if same.size:
            ranks[some] = np.where(same.any(axis=2), same.argmax(axis=2), exact.shape[1])
    return ranks


def recall_at(found: np.ndarray, exact: np.ndarray, depths: Sequence[int]) -> dict[str, float]:
    """Mean share of the rows `exact` [q, m] among the rows `found` [q, f] at each depth, one set of rows being right;
    fewer than k items count as they are."""
    ranks = ranks_of(found, exact)
    result = {}
    for depth in depths:
        wanted = (exact[:, :depth] >= 0).sum(axis=1)
        right = (ranks[:, :depth] < min(depth, exact.shape[1])).sum(axis=1)
        result[str(depth)] = mean_share(np.where(wanted > 0, right / np.maximum(wanted, 1), np.nan))
    return result


def mean_share(shares: np.ndarray) -> float:
    """The mean of float64 [q] without its NaN, to six digits; 1 where nothing is left to find."""
    kept = _as_integers(shares)
    return round(int(kept.sum()) / (_SHARE_UNIT * len(kept)), 6) if len(kept) else 1.0


def interval(shares: np.ndarray) -> tuple[float, float]:
    """The 95 % confidence interval of `mean_share` over the choice of the queries.

    By a bootstrap: the queries are drawn anew, with replacement, a thousand times, always the same times for as many
    queries; the interval holds the middle 95 % of the means. From 0 to 1 where there is no query.
    """
    kept = _as_integers(shares)
    if len(kept) == 0:
        return 0.0, 1.0
    generator, sums = np.random.default_rng(_SEED), np.empty(_RESAMPLES)
    at_once = max(1, _DRAWN_AT_ONCE // len(kept))
    for start in range(0, _RESAMPLES, at_once):
        block = sums[start : start + at_once]
        block[:] = kept[generator.integers(0, len(kept), (len(block), len(kept)))].sum(axis=1)
    low, high = np.quantile(sums / (_SHARE_UNIT * len(kept)), (0.025, 0.975)).tolist()
    return round(low, 6), round(high, 6)


def _as_integers(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares[np.isfinite(shares)] * _SHARE_UNIT).astype(np.int64)
