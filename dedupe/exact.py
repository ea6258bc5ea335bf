"""Exact copies: items with one hash, as the edges of a star, and as a placeholder where they are too many products."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupe.placeholders import NOTHING, REASONS, PlaceholderRule, placeholders
from dedupe.settings import BYTES, Settings

#: Items that are placeholders: never dropped, and never a reason to drop another.
MARKS = pa.schema([("row", pa.int64()), ("placeholder", pa.string()), ("why", pa.string())])


def class_stars(entries: pa.Table, settings: Settings) -> tuple[pa.Table, pa.Table]:
    """All entries of some hashes to edges from the lowest row of each, and to marks.

    Args:
        entries: `tier`, `high` and `low` (the hash), `row`, `weight`, `empty`, `group_value`, `products`.
        settings: what is a placeholder.

    Returns:
        Edges `row_a` < `row_b`, `exact`, one for each entry of a class but its lowest; none of a class of placeholders.
        Marks: `row`, `placeholder` (the same text for one class), `why`.
    """
    tier, high, low, row = (entries[name].to_numpy() for name in ("tier", "high", "low", "row"))
    order = np.lexsort((row, low, high, tier))
    tier, high, low, row = tier[order], high[order], low[order], row[order]
    differs = (np.diff(tier) != 0) | (np.diff(high) != 0) | (np.diff(low) != 0)
    starts = np.flatnonzero(np.concatenate([[True], differs])[: len(row)])
    klass = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(row))))
    ordered = entries.take(pa.array(order))
    why = placeholder_groups(klass, ordered, ordered["empty"].to_numpy(), settings)
    first = row[starts][klass]
    edge = (why == NOTHING) & (first != row)
    edges = pa.table(
        {"row_a": pa.array(first[edge]), "row_b": pa.array(row[edge]), "exact": pa.array(tier[edge].astype(np.int8))}
    )
    marked = np.flatnonzero(why != NOTHING)
    # Of a row with two names the smaller counts: that of its pixels, which are those of more items.
    names = [f"{int(tier[at] == BYTES)}{high[at]:016x}{low[at]:016x}" for at in marked.tolist()]
    marks = pa.table(
        {
            "row": pa.array(row[marked], pa.int64()),
            "placeholder": pa.array(names, pa.string()),
            "why": pa.array([REASONS[each] for each in why[marked].tolist()], pa.string()),
        },
        schema=MARKS,
    )
    return edges, marks


def placeholder_groups(group: np.ndarray, entries: pa.Table, empty: np.ndarray, settings: Settings) -> np.ndarray:
    """int8 [n]: for each entry why its group is one of placeholders, see `dedupe.placeholders`.

    Args:
        group: int64 [n].
        entries: with `group_value`, and `products`, hashes of several for each.
        empty: bool [n].
        settings: how many are too many.
    """
    products = _whole(entries["products"])
    owner = np.asarray(pc.list_parent_indices(products))
    values = pc.cast(pc.list_flatten(products), pa.string())
    codes = np.asarray(_whole(entries["group_value"]).dictionary_encode().indices.fill_null(-1)).astype(np.int32)
    rule = PlaceholderRule(settings.placeholder_products, settings.placeholder_groups)
    why = placeholders(
        np.concatenate([group, group[owner]]),
        pa.concat_arrays([pa.nulls(len(group), pa.string()), values]),
        np.concatenate([codes, np.full(len(owner), -1, np.int32)]),
        np.concatenate([empty, np.zeros(len(owner), bool)]),
        rule,
    )
    return why[: len(group)]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
