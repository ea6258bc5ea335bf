"""Pairs of rows to pairs as a report has them: by item id, and a class of the same pictures by one of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupe.classes import Classes
from dedupe.settings import TIERS

#: Pairs as a report has them.
NAMED_PAIRS = pa.schema(
    [
        ("item_id", pa.string()),
        ("other_item_id", pa.string()),
        ("dataset", pa.string()),
        ("other_dataset", pa.string()),
        ("tier", pa.string()),
        ("score", pa.float32()),
        ("hamming", pa.int16()),
        ("hamming_256", pa.int16()),
        ("thumbnail_score", pa.float32()),
        ("embedding_score", pa.float32()),
        ("group_id", pa.string()),
    ]
)
_MEASURES = ("hamming", "hamming_256", "thumbnail", "combined")


def pairs_of_places(
    classes: Classes, edges: pa.Table, low: np.ndarray, high: np.ndarray, usable: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """What is a pair, as places of members.

    Args:
        classes: of the members.
        edges: accepted pairs, with `tier`, `score` and what was measured.
        low, high: int64 [n], the places of their members.
        usable: bool [m], members that may be in a pair.
        groups: int32 [m], where only members of different groups are duplicates.

    Returns:
        int64 [p] and [p]: the places; `tier`, `score` and the measures of each pair. Members of a class are each paired
        with its most preferred one, classes by their most preferred ones; with `groups`, those of different groups.
    """
    centre = classes.centres(groups)
    member = np.flatnonzero(usable & (centre >= 0) & (centre != np.arange(len(centre))))
    one, other = centre[member], member
    if groups is not None:  # The most preferred two would pair with each other twice.
        mutual = centre[one] == other
        one, other = one[~mutual | (one < other)], other[~mutual | (one < other)]
    within = _same(classes, one, other)
    between = np.flatnonzero((classes.klass[low] != classes.klass[high]) & usable[low] & usable[high])
    first, second, which = _ends(classes, low[between], high[between], groups)
    chosen = edges.take(pa.array(between[which])).select(["tier", "score", *_MEASURES])
    a, b = np.minimum(first, second), np.maximum(first, second)
    best = np.lexsort((-chosen["score"].to_numpy(), chosen["tier"].to_numpy(), b, a))
    repeated = np.zeros(len(best), bool)
    repeated[1:] = (np.diff(a[best]) == 0) & (np.diff(b[best]) == 0)
    best = best[~repeated]
    table = pa.concat_tables([within, chosen.take(pa.array(best))], promote_options="permissive")
    return np.concatenate([one, a[best]]), np.concatenate([other, b[best]]), table


def _same(classes: Classes, one: np.ndarray, other: np.ndarray) -> pa.Table:
    """Pairs of the same picture."""
    count = len(one)
    return pa.table(
        {
            "tier": pa.array(classes.tier(one, other)),
            "score": pa.array(np.ones(count, np.float32)),
            "hamming": pa.nulls(count, pa.int16()),
            "hamming_256": pa.nulls(count, pa.int16()),
            "thumbnail": pa.nulls(count, pa.float32()),
            "combined": pa.nulls(count, pa.float32()),
        }
    )


def _ends(
    classes: Classes, low: np.ndarray, high: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each edge the members that stand for its classes, and the number of the edge: one pair, or one for any two
    groups that differ."""
    if groups is None:
        centre = classes.centres()
        return centre[low], centre[high], np.arange(len(low))
    order = np.lexsort((classes.rank, groups, classes.klass))
    keys = np.stack([classes.klass[order], groups[order]])
    begins = np.flatnonzero((np.diff(keys, axis=1, prepend=-2) != 0).any(axis=0))
    leads, klass = order[begins], classes.klass[order[begins]]
    found: list[tuple[int, int, int]] = []
    for number, (a, b) in enumerate(zip(classes.klass[low].tolist(), classes.klass[high].tolist(), strict=True)):
        ones, others = (leads[np.searchsorted(klass, each) : np.searchsorted(klass, each, "right")] for each in (a, b))
        found += [(x, y, number) for x in ones.tolist() for y in others.tolist() if groups[x] != groups[y]]
    table = np.array(found, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def named(members: pa.Table, a: np.ndarray, b: np.ndarray, measured: pa.Table, group_ids: pa.Array) -> pa.Table:
    """Pairs by name.

    Args:
        members: with `item_id` and `dataset`.
        a, b: int64 [p], places of members.
        measured: `tier`, `score`, and the measures.
        group_ids: string [m], of each member, null for none.
    """
    one, other = pa.array(a), pa.array(b)
    mine, yours = group_ids.take(one), group_ids.take(other)
    return pa.table(
        {
            "item_id": members["item_id"].take(one),
            "other_item_id": members["item_id"].take(other),
            "dataset": members["dataset"].take(one),
            "other_dataset": members["dataset"].take(other),
            "tier": pa.array(TIERS).take(measured["tier"].combine_chunks().cast(pa.int64())),
            "score": measured["score"],
            "hamming": measured["hamming"],
            "hamming_256": measured["hamming_256"],
            "thumbnail_score": measured["thumbnail"],
            "embedding_score": measured["combined"],
            "group_id": pc.if_else(pc.fill_null(pc.equal(mine, yours), False), mine, pa.scalar(None, pa.string())),
        },
        schema=NAMED_PAIRS,
    )
