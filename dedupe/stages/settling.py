"""Settling: every item of a stretch to one line, kept or dropped, and to the groups and placeholders that it is in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import canonical_json, storage
from dedupe.bucketed import write_buckets
from dedupe.csv_text import csv_text
from dedupe.items import read_items
from dedupe.job import Layout, Stretch
from dedupe.lines import DATASETS, LINES, Lines, read_lines
from dedupe.members import Members, read_members
from dedupe.named_pairs import NAMED_PAIRS, range_of, together
from dedupe.placeholders_table import PLACEHOLDERS, summarize
from dedupe.roles import ALONE, DROPPED, KEEPER, PLACEHOLDER, PROTECTED
from dedupe.settings import TIERS
from dedupe.splits import SplitRatios, assign

_SHOWN = ("product_id", "width", "height", "bytes", "image_uri", "thumbnail")
#: The members of groups, as a report has them.
GROUPS = pa.schema(
    [
        ("group_id", pa.string()),
        ("item_id", pa.string()),
        ("dataset", pa.string()),
        ("kept_item_id", pa.string()),
        ("kept_dataset", pa.string()),
        ("role", pa.string()),
        ("tier", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
        ("product_id", pa.string()),
        ("group_value", pa.string()),
        ("label", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("image_uri", pa.string()),
        ("thumbnail", pa.binary(192)),
    ]
)


def settle(layout: Layout, stretch: Stretch) -> None:
    """Stores a stretch's part of every file of the report."""
    job = layout.job
    done = job.at("settled", f"{stretch.number:06d}.json")
    if storage.exists(done):
        return
    members = read_members(layout, stretch)
    lines = read_lines(layout, stretch, members)
    _write_kept_and_dropped(layout, stretch, lines)
    _write_groups(layout, stretch, members, lines)
    _write_copies(layout, stretch, members, lines)
    if job.settings.splits:
        _write_splits(layout, stretch, members, lines)
    storage.write(done, canonical_json.dump(_counts(members, lines)))


def _write_kept_and_dropped(layout: Layout, stretch: Stretch, lines: Lines) -> None:
    columns = [*LINES, *(DATASETS if len(layout.job.sources) > 1 else ())]
    dropped = lines.role == DROPPED
    for name, chosen in (("drop", dropped), ("keep", ~dropped)):
        text = csv_text(lines.told(chosen).select(columns))
        storage.write(layout.job.at(name, f"{stretch.number:06d}.csv"), text)


def _write_groups(layout: Layout, stretch: Stretch, members: Members, lines: Lines) -> None:
    marked = lines.role == PLACEHOLDER
    grouped = (lines.role <= PROTECTED) & ~marked
    shown = _shown(layout, stretch, grouped | marked)
    here = pa.array(grouped[grouped | marked])
    rows = lines.told(grouped)
    for name in ("group_value", "label"):
        rows = rows.append_column(name, getattr(members, name).filter(pa.array(grouped)))
    for name in _SHOWN:
        rows = rows.append_column(name, shown[name].filter(here))
    rows = rows.select(GROUPS.names).cast(GROUPS)
    ranges = np.array([int(name[:8], 16) * layout.buckets >> 32 for name in rows["group_id"].to_pylist()], np.int64)
    write_buckets(layout.job.at("groups", f"{stretch.number:06d}.arrow"), rows, ranges, layout.buckets)
    those = pa.array(marked)
    columns = {name: shown[name].filter(pc.invert(here)) for name in ("product_id", "image_uri", "thumbnail")}
    for name in ("placeholder", "why"):
        columns[name] = lines.said[name].filter(those)
    for name in ("item_id", "group_value"):
        columns[name] = getattr(members, name).filter(those)
    summary = summarize(pa.table(columns))
    url = layout.job.at("placeholders", f"{stretch.number:06d}.arrow")
    write_buckets(url, summary.cast(PLACEHOLDERS), np.zeros(len(summary), np.int64), 1)


def _shown(layout: Layout, stretch: Stretch, chosen: np.ndarray) -> pa.Table:
    """What a reader is shown of some items, in the order of rows."""
    tables, done = [], 0
    for table in read_items(layout, stretch, _SHOWN):
        tables.append(table.filter(pa.array(chosen[done : done + len(table)])).select(list(_SHOWN)))
        done += len(table)
    return pa.concat_tables(tables)


def _write_copies(layout: Layout, stretch: Stretch, members: Members, lines: Lines) -> None:
    """The pairs of copies with the item that stands for the same picture, of which no other stage knows."""
    places = np.flatnonzero(members.copies & lines.paired)
    one, other = lines.said.take(pa.array(places)), members.item_id.take(pa.array(places))
    rows, centres = members.row[places], one["centre_row"].to_numpy()
    first = pa.array(rows < centres)
    dataset = pa.array([layout.job.sources[stretch.source].name or None] * len(places), pa.string())
    table = pa.table(
        {
            "item_id": pc.if_else(first, other, one["centre_item_id"]),
            "other_item_id": pc.if_else(first, one["centre_item_id"], other),
            "dataset": pc.if_else(first, dataset, one["centre_dataset"]),
            "other_dataset": pc.if_else(first, one["centre_dataset"], dataset),
            "tier": one["centre_tier"],
            "score": pa.array(np.ones(len(places), np.float32)),
            "group_id": together(one["group_id"], one["centre_group"]),
            "row": pa.array(np.minimum(rows, centres)),
            "other_row": pa.array(np.maximum(rows, centres)),
        }
    )
    named = pa.concat_tables([NAMED_PAIRS.empty_table(), table], promote_options="default").select(NAMED_PAIRS.names)
    url = layout.job.at("copies", f"{stretch.number:06d}.arrow")
    write_buckets(url, named, range_of(named, layout), layout.buckets)


def _write_splits(layout: Layout, stretch: Stretch, members: Members, lines: Lines) -> None:
    assert layout.job.settings.splits is not None
    ratios = SplitRatios.parse(layout.job.settings.splits, "--assign-splits")
    keys = pc.coalesce(lines.said["component"], members.item_id).to_pylist()
    names = pa.array(ratios.names, pa.string()).take(pa.array(assign(keys, ratios)))
    table = pa.table({"item_id": members.item_id, "split": names})
    storage.write(layout.job.at("splits", f"{stretch.number:06d}.csv"), csv_text(table))


def _counts(members: Members, lines: Lines) -> dict[str, Any]:
    roles = np.bincount(lines.role, minlength=PLACEHOLDER + 1).tolist()
    tiers = np.bincount(lines.tier[lines.role == DROPPED], minlength=len(TIERS)).tolist()
    return {
        "items": len(members),
        "dropped": roles[DROPPED],
        "groups": roles[KEEPER],
        "protected": roles[PROTECTED],
        "unique": roles[ALONE],
        "placeholder_items": roles[PLACEHOLDER],
        "by_tier": dict(zip(TIERS, tiers, strict=True)),
        "own": _own_leakage(members, lines),
    }


def _own_leakage(members: Members, lines: Lines) -> dict[str, list[int]]:
    """By group value: items that have a duplicate in their own group of which no component tells, and those pairs."""
    weights = members.weights()
    alone = np.flatnonzero(lines.lone & (weights > 1) & ~np.asarray(members.group_value.is_null()))
    found: dict[str, list[int]] = {}
    values = members.group_value.take(pa.array(alone)).to_pylist()
    for value, weight in zip(values, weights[alone].tolist(), strict=True):
        counts = found.setdefault(value, [0, 0])
        counts[0] += weight
        counts[1] += weight * (weight - 1) // 2
    return found
