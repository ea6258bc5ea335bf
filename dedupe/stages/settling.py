"""Settling: every item of a stretch to one line, kept or dropped, and to the groups and placeholders that it is in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from catalog import canonical_json, storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.items import read_items
from dedupe.job import Layout, Stretch
from dedupe.members import Members, read_members
from dedupe.named_pairs import NAMED_PAIRS
from dedupe.placeholders_table import PLACEHOLDERS, summarize
from dedupe.settings import BYTES, TIERS
from dedupe.splits import SplitRatios, assign
from dedupe.stages.gathering import marks_of
from dedupe.stages.grouping import ALONE, PLACEHOLDER, group_id

KEEPER, DROPPED, PROTECTED = "keeper", "dropped", "protected"
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
LINES = ("item_id", "group_id", "kept_item_id", "tier", "score", "reason")
DATASETS = ("dataset", "kept_dataset")


@dataclass
class _Line:
    """What becomes of an item."""

    role: str
    group: str | None = None
    kept: str | None = None
    kept_dataset: str | None = None
    tier: int | None = None
    score: float | None = None
    centre: str | None = None
    centre_dataset: str | None = None
    centre_tier: int | None = None
    placeholder: str | None = None
    why: str | None = None
    component: str | None = None


def settle(layout: Layout, stretch: Stretch) -> None:
    """Stores a stretch's part of every file of the report."""
    job = layout.job
    done = job.at("settled", f"{stretch.number:06d}.json")
    if storage.exists(done):
        return
    members = read_members(layout, stretch)
    lines = _lines(layout, stretch, members)
    _write_csv(layout, stretch, members, lines)
    _write_groups(layout, stretch, members, lines)
    _write_copies(layout, stretch, members, lines)
    if job.settings.splits:
        _write_splits(layout, stretch, members, lines)
    storage.write(done, canonical_json.dump(_counts(members, lines)))


def _lines(layout: Layout, stretch: Stretch, members: Members) -> dict[int, _Line]:
    """What becomes of those items, by position, that are not alone."""
    job = layout.job
    urls = [job.at("decisions", f"{bucket:06d}.arrow") for bucket in range(layout.buckets)]
    lines: dict[int, _Line] = {}
    for said in read_bucket(urls, stretch.number).to_pylist():
        lines[said["row"] - stretch.row] = _Line(
            said["role"],
            said["group_id"],
            said["kept_item_id"],
            said["kept_dataset"],
            said["tier"],
            said["score"],
            said["centre_item_id"],
            said["centre_dataset"],
            said["centre_tier"],
            said["placeholder"],
            said["why"],
            said["component"],
        )
    for row, (name, why) in marks_of(layout, stretch).items():
        line = lines.setdefault(row - stretch.row, _Line(PLACEHOLDER))
        line.role, line.placeholder, line.why = PLACEHOLDER, name, why
    dataset = job.sources[stretch.source].name or None
    for place in np.flatnonzero(~members.leads).tolist():
        leader = int(members.leader[place])
        above = lines.setdefault(leader, _Line(ALONE))
        lines[place] = _follower(above, dataset, members.item_id[leader].as_py(), job.settings.across)
    return lines


def _follower(leader: _Line, dataset: str | None, leader_id: str, across: bool) -> _Line:
    """What becomes of an item with the same bytes as its leader, who is made a keeper by it."""
    if leader.centre is None and not across:
        leader.centre, leader.centre_dataset, leader.centre_tier = leader_id, dataset, BYTES
    if leader.role in (DROPPED, PLACEHOLDER):
        return replace(leader)
    alike = (leader.centre, leader.centre_dataset, leader.centre_tier)
    if across:
        return _Line(ALONE, None, None, None, None, None, *alike, component=leader.component or leader_id)
    if leader.role == ALONE:
        leader.role, leader.kept, leader.kept_dataset = KEEPER, leader_id, dataset
        leader.group = group_id(dataset, leader_id)
        leader.component = leader.component or leader_id
    return _Line(DROPPED, leader.group, leader_id, dataset, BYTES, 1.0, *alike, component=leader.component)


def _reason(layout: Layout, line: _Line) -> str:
    """A sentence for people."""
    said = {
        "bytes": "the same bytes as",
        "pixels": "the same pixels as",
        "phash": "its perceptual hash is that of",
        "thumbnail": "its thumbnail is like that of",
        "embedding": "thumbnail and embedding are like those of",
    }
    if line.role == KEEPER:
        return f"first of its group by {layout.job.settings.keeper}, item_id"
    if line.role == PLACEHOLDER:
        return f"a placeholder: {(line.why or 'like a placeholder').replace('_', ' ')}"
    if line.role == ALONE or line.tier is None:
        return "nothing like it is kept" if line.component is not None else "unique"
    alike = f"{said[TIERS[line.tier]]} {line.kept}"
    return f"protected; {alike}" if line.role == PROTECTED else alike


def _table(layout: Layout, stretch: Stretch, members: Members, lines: dict[int, _Line], places: list[int]) -> pa.Table:
    """The lines of some items."""
    chosen = [lines.get(place) for place in places]
    alone = _Line(ALONE)
    found = [line or alone for line in chosen]
    ids = members.item_id.take(pa.array(places, pa.int64()))
    dataset = layout.job.sources[stretch.source].name or None
    own = [line.kept is None for line in found]
    kept = [None if mine else line.kept for mine, line in zip(own, found, strict=True)]
    return pa.table(
        {
            "item_id": ids,
            "group_id": pa.array([line.group for line in found], pa.string()),
            "kept_item_id": pc.coalesce(pa.array(kept, pa.string()), ids),
            "tier": pa.array([None if line.tier is None else TIERS[line.tier] for line in found], pa.string()),
            "score": pa.array([line.score for line in found], pa.float32()),
            "reason": pa.array([_reason(layout, line) for line in found], pa.string()),
            "dataset": pa.array([dataset] * len(found), pa.string()),
            "kept_dataset": pa.array(
                [dataset if mine else line.kept_dataset for mine, line in zip(own, found, strict=True)], pa.string()
            ),
            "role": pa.array([line.role for line in found], pa.string()),
        }
    )


def _write_csv(layout: Layout, stretch: Stretch, members: Members, lines: dict[int, _Line]) -> None:
    whole = _table(layout, stretch, members, lines, list(range(len(members))))
    columns = [*LINES, *(DATASETS if len(layout.job.sources) > 1 else ())]
    dropped = pc.equal(whole["role"], DROPPED)
    for name, chosen in (("drop", dropped), ("keep", pc.invert(dropped))):
        sink = pa.BufferOutputStream()
        options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
        pa_csv.write_csv(whole.filter(chosen).select(columns), sink, options)
        storage.write(layout.job.at(name, f"{stretch.number:06d}.csv"), sink.getvalue().to_pybytes())


def _write_groups(layout: Layout, stretch: Stretch, members: Members, lines: dict[int, _Line]) -> None:
    grouped = sorted(place for place, line in lines.items() if line.group is not None and line.role != PLACEHOLDER)
    marked = sorted(place for place, line in lines.items() if line.role == PLACEHOLDER)
    shown = _shown(layout, stretch, sorted({*grouped, *marked}))
    told = _table(layout, stretch, members, lines, grouped)
    for name in ("group_value", "label"):
        told = told.append_column(name, getattr(members, name).take(pa.array(grouped, pa.int64())))
    where = {place: number for number, place in enumerate(sorted({*grouped, *marked}))}
    for name in _SHOWN:
        told = told.append_column(name, shown[name].take(pa.array([where[place] for place in grouped], pa.int64())))
    rows = told.select(GROUPS.names).cast(GROUPS)
    ranges = np.array([int(name[:8], 16) * layout.buckets >> 32 for name in rows["group_id"].to_pylist()], np.int64)
    write_buckets(layout.job.at("groups", f"{stretch.number:06d}.arrow"), rows, ranges, layout.buckets)
    table = pa.table(
        {
            "placeholder": pa.array([lines[place].placeholder for place in marked], pa.string()),
            "why": pa.array([lines[place].why for place in marked], pa.string()),
            "item_id": members.item_id.take(pa.array(marked, pa.int64())),
            "group_value": members.group_value.take(pa.array(marked, pa.int64())),
            **{
                name: shown[name].take(pa.array([where[place] for place in marked], pa.int64()))
                for name in ("product_id", "image_uri", "thumbnail")
            },
        }
    )
    summary = summarize(table)
    url = layout.job.at("placeholders", f"{stretch.number:06d}.arrow")
    write_buckets(url, summary.cast(PLACEHOLDERS), np.zeros(len(summary), np.int64), 1)


def _shown(layout: Layout, stretch: Stretch, places: list[int]) -> pa.Table:
    """What a reader is shown of some items, in the order of their places."""
    rows = pa.array([place + stretch.row for place in places], pa.int64())
    tables = [
        table.filter(pc.is_in(table["row"], value_set=rows)).select(list(_SHOWN))
        for table in read_items(layout, stretch, _SHOWN)
    ]
    return pa.concat_tables(tables)


def _write_copies(layout: Layout, stretch: Stretch, members: Members, lines: dict[int, _Line]) -> None:
    """The pairs of copies, of which no other stage knows, with the most preferred item of their pixels."""
    followers = np.flatnonzero(~members.leads).tolist()
    places = [place for place in followers if lines[place].role != PLACEHOLDER and lines[place].centre is not None]
    found = [lines[place] for place in places]
    dataset = layout.job.sources[stretch.source].name or None
    table = pa.table(
        {
            "item_id": pa.array([line.centre for line in found], pa.string()),
            "other_item_id": members.item_id.take(pa.array(places, pa.int64())),
            "dataset": pa.array([line.centre_dataset for line in found], pa.string()),
            "other_dataset": pa.array([dataset] * len(found), pa.string()),
            "tier": pa.array([TIERS[line.centre_tier or BYTES] for line in found], pa.string()),
            "score": pa.array(np.ones(len(found), np.float32)),
            "group_id": pa.array([line.group for line in found], pa.string()),
        }
    )
    named = pa.concat_tables([NAMED_PAIRS.empty_table(), table], promote_options="default").select(NAMED_PAIRS.names)
    url = layout.job.at("copies", f"{stretch.number:06d}.arrow")
    write_buckets(url, named, np.zeros(len(named), np.int64), 1)


def _write_splits(layout: Layout, stretch: Stretch, members: Members, lines: dict[int, _Line]) -> None:
    assert layout.job.settings.splits is not None
    ratios = SplitRatios.parse(layout.job.settings.splits, "--assign-splits")
    ids = members.item_id.to_pylist()
    keys = [lines[place].component or item_id if place in lines else item_id for place, item_id in enumerate(ids)]
    names = [ratios.names[each] for each in assign(keys, ratios).tolist()]
    sink = pa.BufferOutputStream()
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    pa_csv.write_csv(pa.table({"item_id": members.item_id, "split": pa.array(names)}), sink, options)
    storage.write(layout.job.at("splits", f"{stretch.number:06d}.csv"), sink.getvalue().to_pybytes())


def _counts(members: Members, lines: dict[int, _Line]) -> dict[str, Any]:
    roles = Counter(line.role for line in lines.values())
    tiers = Counter(TIERS[line.tier] for line in lines.values() if line.role == DROPPED and line.tier is not None)
    return {
        "items": len(members),
        "dropped": roles[DROPPED],
        "groups": roles[KEEPER],
        "protected": roles[PROTECTED],
        "placeholder_items": roles[PLACEHOLDER],
        "by_tier": {name: tiers[name] for name in TIERS},
    }
