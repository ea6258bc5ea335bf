"""Grouping: the components of a bucket to decisions on their items, to pairs by name, and to what groups share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import canonical_json, storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.chain_guard import Cover, cover
from dedupe.classes import Classes
from dedupe.exact import placeholder_groups
from dedupe.job import Layout
from dedupe.leakage import Leakage, leakage
from dedupe.named_pairs import named, pairs_of_places, range_of
from dedupe.placeholders import NOTHING, REASONS
from dedupe.roles import ALONE, KEEPER, PLACEHOLDER, PROTECTED, group_ids, texts
from dedupe.settings import BYTES, PIXELS, Settings

#: What becomes of an item that has a pair, and of all that it stands for; `centre_…` is the item
#: that a copy is paired with, null of a placeholder.
DECISIONS = pa.schema(
    [
        ("row", pa.int64()),
        ("role", pa.int8()),
        ("group_id", pa.string()),
        ("kept_item_id", pa.string()),
        ("kept_dataset", pa.string()),
        ("tier", pa.int8()),
        ("score", pa.float32()),
        ("placeholder", pa.string()),
        ("why", pa.string()),
        ("component", pa.string()),
        ("centre_row", pa.int64()),
        ("centre_item_id", pa.string()),
        ("centre_dataset", pa.string()),
        ("centre_group", pa.string()),
        ("centre_tier", pa.int8()),
    ]
)


@dataclass(frozen=True)
class Grouped:
    """The components of a bucket, decided: a row of `decisions` for each member, the pairs, and what groups share."""

    decisions: pa.Table
    pairs: pa.Table
    leakage: Leakage


def group(layout: Layout, bucket: int, reviewed: np.ndarray, values: list[str]) -> None:
    """Decides the components of a bucket.

    Args:
        layout: of the job.
        bucket: which.
        reviewed: int64 [p, 2], rows of pairs that are not the same.
        values: of the group column, or names of datasets: the rows of the leakage matrix.
    """
    job = layout.job
    done = job.at("grouped", f"{bucket:06d}.json")
    if storage.exists(done):
        return
    numbers = [f"{stretch.number:06d}.arrow" for stretch in layout.stretches]
    members = read_bucket([job.at("members", name) for name in numbers], bucket).sort_by("row")
    pairs = read_bucket([job.at("linked", name) for name in numbers], bucket)
    found = decide(members, pairs, job.settings, reviewed, values)
    owners = layout.stretch_of(found.decisions["row"].to_numpy())
    write_buckets(job.at("decisions", f"{bucket:06d}.arrow"), found.decisions, owners, len(layout.stretches))
    ranges = range_of(found.pairs, layout)
    write_buckets(job.at("named", f"{bucket:06d}.arrow"), found.pairs, ranges, layout.buckets)
    counts = {"items": found.leakage.items.tolist(), "pairs": found.leakage.pairs.tolist()}
    storage.write(done, canonical_json.dump(counts))


def decide(members: pa.Table, pairs: pa.Table, settings: Settings, reviewed: np.ndarray, values: list[str]) -> Grouped:
    """See `group`. Members are sorted by row; pairs are those of whole components."""
    rows = members["row"].to_numpy()
    classes = Classes.of(rows, pairs, members["content"].to_numpy(), members["order"].combine_chunks())
    low, high = (np.searchsorted(rows, pairs[name].to_numpy()) for name in ("row_a", "row_b"))
    marks = _spread_marks(_whole(members["placeholder"]), classes.klass, low, high)
    place = np.flatnonzero(np.asarray(marks.is_null()))
    codes = _codes(members["group_value"], values)
    groups = codes if settings.across else None
    # Between pictures: whether two of their items are duplicates depends on the items, too.
    klass = classes.klass.astype(np.uint64)
    linked = np.asarray(marks.is_null())[low] & np.asarray(marks.is_null())[high]
    edges = pairs.select(["tier", "score"]).filter(pa.array(linked))
    for name, end in (("a", low), ("b", high)):
        edges = edges.append_column(name, pa.array(klass[end[linked]]))
    covered = cover(_covered(members, place, klass, codes), edges, reviewed, settings.across)
    decisions = _decisions(members, marks, place, covered, settings, classes, groups)
    usable = decisions["role"].to_numpy() != PLACEHOLDER
    a, b, measured = pairs_of_places(classes, pairs, low, high, usable, groups)
    wanted = ~_among(rows[a], rows[b], reviewed)
    shown = named(members, a[wanted], b[wanted], measured.filter(pa.array(wanted)), _whole(decisions["group_id"]))
    shared = leakage(
        rows[place],
        klass[place],
        codes[place],
        np.stack([edges["a"].to_numpy(), edges["b"].to_numpy()], axis=1),
        len(values),
        reviewed,
        members["weight"].to_numpy()[place],
    )
    return Grouped(decisions, shown, shared.across() if settings.across else shared)


def _covered(members: pa.Table, place: np.ndarray, klass: np.ndarray, codes: np.ndarray) -> pa.Table:
    """The members that are no placeholders, as `dedupe.chain_guard` takes them."""
    names = ["row", "order", "content", "protected", "weight"]
    if not members["order_after"].null_count:
        names.append("order_after")
    table = members.select(names).take(pa.array(place))
    return table.append_column("klass", pa.array(klass[place])).append_column("group_value", pa.array(codes[place]))


def _spread_marks(marks: pa.Array, klass: np.ndarray, low: np.ndarray, high: np.ndarray) -> pa.Array:
    """A picture that is like a placeholder is one: the marks of members, and of those that have a pair with them. Of
    several the smallest counts."""
    if marks.null_count == len(marks):
        return marks
    names = pa.array(sorted(marks.unique().drop_null().to_pylist()), pa.string())
    none = len(names)
    own = np.asarray(marks.is_null())
    code = np.asarray(pc.index_in(marks, value_set=names).fill_null(none)).astype(np.int64)
    spread = code.copy()
    for one, other in ((low, high), (high, low)):
        reached = ~own[one] & own[other]
        np.minimum.at(spread, other[reached], code[one[reached]])
    _, place = np.unique(klass, return_inverse=True)
    of_class = np.full(len(klass), none, np.int64)
    np.minimum.at(of_class, place, spread)
    spread = np.where(spread == none, of_class[place], spread)
    return names.take(pa.array(spread, mask=spread == none))


def _codes(column: pa.ChunkedArray, values: list[str]) -> np.ndarray:
    """int32 [m]: the place of each value, -1 for null."""
    places = pc.index_in(column, value_set=pa.array(values, pa.string())).fill_null(-1)
    return places.to_numpy().astype(np.int32)


def _among(row_a: np.ndarray, row_b: np.ndarray, reviewed: np.ndarray) -> np.ndarray:
    """bool [n]: whether each pair of rows is one of these."""
    result = np.zeros(len(row_a), bool)
    if len(reviewed):
        known = {(min(pair), max(pair)) for pair in reviewed.tolist()}
        near = np.flatnonzero(np.isin(row_a, reviewed) & np.isin(row_b, reviewed))
        pairs = zip(row_a[near].tolist(), row_b[near].tolist(), strict=True)
        result[near] = [(min(pair), max(pair)) in known for pair in pairs]
    return result


def _decisions(
    members: pa.Table,
    marks: pa.Array,
    place: np.ndarray,
    covered: Cover,
    settings: Settings,
    classes: Classes,
    groups: np.ndarray | None,
) -> pa.Table:
    """A decision for each member."""
    count = len(members)
    role = np.full(count, PLACEHOLDER, np.int8)
    kept = np.full(count, -1, np.int64)
    tier, score = np.full(count, -1, np.int8), np.full(count, np.nan, np.float32)
    keeps = covered.role == KEEPER
    takes = np.bincount(covered.duplicate_of[~keeps], minlength=len(place)) > 0
    role[place] = np.where(keeps & ~takes, ALONE, covered.role)
    kept[place] = np.where(keeps, place, place[covered.duplicate_of])
    tier[place], score[place] = np.where(keeps, -1, covered.tier), np.where(keeps, np.nan, covered.score)
    same = np.flatnonzero((tier == BYTES) | (tier == PIXELS))
    tier[same] = classes.tier(same, kept[same])
    names = _group_names(members, kept)
    stray = np.zeros(count, np.int8)
    stray[place] = placeholder_groups(kept[place], members.take(pa.array(place)), np.zeros(len(place), bool), settings)
    strays = stray != NOTHING
    role[strays], tier[strays], score[strays] = PLACEHOLDER, -1, np.nan
    shown = pa.array(role <= PROTECTED)
    nobody = pa.scalar(None, pa.string())
    keeper = pa.array(np.maximum(kept, 0))
    group = pc.if_else(shown, names, nobody)
    centre = classes.centres(groups)
    hidden = (role == PLACEHOLDER) | (centre < 0)
    of = pa.array(centre, mask=hidden)
    return pa.table(
        {
            "row": members["row"],
            "role": pa.array(role),
            "group_id": group,
            "kept_item_id": pc.if_else(shown, members["item_id"].take(keeper), nobody),
            "kept_dataset": pc.if_else(shown, members["dataset"].take(keeper), nobody),
            "tier": pa.array(tier, mask=tier < 0),
            "score": pa.array(score, mask=np.isnan(score)),
            "placeholder": pc.if_else(pa.array(strays), names, marks),
            "why": texts(REASONS, np.where(strays, stray, -1)),
            "component": _first_of_component(members),
            "centre_row": members["named_row"].take(of),
            "centre_item_id": members["item_id"].take(of),
            "centre_dataset": members["dataset"].take(of),
            "centre_group": group.take(of),
            "centre_tier": pa.array(classes.tier(np.arange(count), centre), mask=hidden),
        },
        schema=DECISIONS,
    )


def _group_names(members: pa.Table, kept: np.ndarray) -> pa.Array:
    """string [m]: the name of the group of each member, by the place of its keeper; null for -1."""
    keepers, place = np.unique(kept, return_inverse=True)
    known = members.take(pa.array(np.maximum(keepers, 0)))
    names = group_ids(known["dataset"].to_pylist(), known["item_id"].to_pylist())
    return names.take(pa.array(place, mask=kept < 0))


def _first_of_component(members: pa.Table) -> pa.ChunkedArray:
    """For each member the smallest item id of its component."""
    smallest = members.group_by("component", use_threads=False).aggregate([("first_id", "min")])
    return smallest["first_id_min"].take(pc.index_in(members["component"], value_set=_whole(smallest["component"])))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
