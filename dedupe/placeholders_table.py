"""Placeholders as a report has them: one line for each, however many items have the picture."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

#: Products and group values are told apart up to so many in every stretch of items.
_MOST_NAMED = 1_000

PLACEHOLDERS = pa.schema(
    [
        ("placeholder_id", pa.string()),
        ("why", pa.string()),
        ("items", pa.int64()),
        ("products", pa.list_(pa.string())),
        ("group_values", pa.list_(pa.string())),
        ("item_id", pa.string()),
        ("image_uri", pa.string()),
        ("thumbnail", pa.binary(192)),
    ]
)


def summarize(items: pa.Table) -> pa.Table:
    """Items to one row a placeholder.

    Args:
        items: `placeholder`, `why`, `item_id`, `group_value`, `product_id`, `image_uri`, `thumbnail`.

    Returns:
        `PLACEHOLDERS`, sorted by id; the item is the one with the smallest id.
    """
    found: dict[str, dict[str, Any]] = {}
    sets: dict[str, tuple[set[str], set[str]]] = {}
    for row in items.sort_by([("placeholder", "ascending"), ("item_id", "ascending")]).to_batches():
        for each in row.to_pylist():
            name = each["placeholder"]
            entry = found.setdefault(
                name,
                {"placeholder_id": name, "why": None, "items": 0}
                | {key: each[key] for key in ("item_id", "image_uri", "thumbnail")},
            )
            entry["items"] = entry["items"] + 1
            entry["why"] = entry["why"] or each["why"]
            products, groups = sets.setdefault(name, (set(), set()))
            for value, known in ((each["product_id"], products), (each["group_value"], groups)):
                if value is not None and len(known) < _MOST_NAMED:
                    known.add(value)
    rows = [
        {**entry, "products": sorted(sets[name][0]), "group_values": sorted(sets[name][1])}
        for name, entry in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=PLACEHOLDERS)


def merged(parts: pa.Table) -> pa.Table:
    """Rows of several stretches to one a placeholder, the one of most items first."""
    found: dict[str, dict[str, Any]] = {}
    for row in parts.to_pylist():
        name = row["placeholder_id"]
        if name not in found:
            found[name] = row
            continue
        entry = found[name]
        smaller = min(entry, row, key=lambda each: each["item_id"])
        entry.update({key: smaller[key] for key in ("item_id", "image_uri", "thumbnail")})
        entry["items"] = entry["items"] + row["items"]
        entry["why"] = entry["why"] or row["why"]
        for name_of in ("products", "group_values"):
            entry[name_of] = sorted({*entry[name_of], *row[name_of]})
    rows = sorted(found.values(), key=lambda each: (-each["items"], each["placeholder_id"]))
    return pa.Table.from_pylist(rows, schema=PLACEHOLDERS)
