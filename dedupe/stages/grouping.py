"""Grouping: the components of a bucket to decisions on their items, to pairs by name, and to what groups share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from catalog import canonical_json, storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.chain_guard import DROPPED, KEEPER, PROTECTED, Cover, cover
from dedupe.classes import Classes
from dedupe.exact import placeholder_groups
from dedupe.job import Layout
from dedupe.leakage import leakage
from dedupe.named_pairs import named, pairs_of_places
from dedupe.placeholders import NOTHING, REASONS
from dedupe.settings import BYTES, PIXELS, Settings

ALONE, PLACEHOLDER = "alone", "placeholder"
ROLES = {KEEPER: "keeper", DROPPED: "dropped", PROTECTED: "protected"}

#: What becomes of an item that has a pair, and of all that it stands for.
DECISIONS = pa.schema(
    [
        ("row", pa.int64()),
        ("role", pa.string()),
        ("group_id", pa.string()),
        ("kept_item_id", pa.string()),
        ("kept_dataset", pa.string()),
        ("tier", pa.int8()),
        ("score", pa.float32()),
        ("centre_item_id", pa.string()),
        ("centre_dataset", pa.string()),
        ("centre_tier", pa.int8()),
        ("placeholder", pa.string()),
        ("why", pa.string()),
        ("component", pa.string()),
    ]
)


@dataclass(frozen=True)
class Grouped:
    """The components of a bucket, decided: a row of `decisions` for each member, the pairs, and the leakage."""

    decisions: pa.Table
    pairs: pa.Table
    items: np.ndarray
    pair_counts: np.ndarray


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
    zeros = np.zeros(len(found.pairs), np.int64)
    write_buckets(job.at("named", f"{bucket:06d}.arrow"), found.pairs, zeros, 1)
    counts = {"items": found.items.tolist(), "pairs": found.pair_counts.tolist()}
    storage.write(done, canonical_json.dump(counts))


def decide(members: pa.Table, pairs: pa.Table, settings: Settings, reviewed: np.ndarray, values: list[str]) -> Grouped:
    """See `group`. Members are sorted by row; pairs are those of whole components."""
    rows = members["row"].to_numpy()
    classes = Classes.of(rows, pairs, members["content"].to_numpy(), members["order"].combine_chunks())
    low, high = (np.searchsorted(rows, pairs[name].to_numpy()) for name in ("row_a", "row_b"))
    marked = _spread_marks(members["placeholder"].to_pylist(), classes.klass, low, high)
    open_member = np.array([each is None for each in marked], bool)
    codes = _codes(members["group_value"], values)
    place = np.flatnonzero(open_member)
    klass = classes.klass.astype(np.uint64)
    linked = open_member[low] & open_member[high]
    links = pa.table(
        {
            "a": klass[low[linked]],
            "b": klass[high[linked]],
            "tier": pairs["tier"].filter(pa.array(linked)),
            "score": pairs["score"].filter(pa.array(linked)),
        }
    )
    covered = cover(_covered(members, place, klass, codes), links, reviewed, settings.across)
    groups = codes if settings.across else None
    decisions = _decisions(members, marked, place, covered, settings, classes, groups)
    usable = np.asarray(pc.not_equal(decisions["role"], PLACEHOLDER))
    a, b, measured = pairs_of_places(classes, pairs, low, high, usable, groups)
    wanted = ~_among(rows[a], rows[b], reviewed)
    shown = named(
        members, a[wanted], b[wanted], measured.filter(pa.array(wanted)), decisions["group_id"].combine_chunks()
    )
    shared = leakage(
        rows[place],
        klass[place],
        codes[place],
        np.stack([links["a"].to_numpy(), links["b"].to_numpy()], axis=1),
        len(values),
        reviewed,
        members["weight"].to_numpy()[place],
    )
    return Grouped(decisions, shown, shared.items, shared.pairs)


def _covered(members: pa.Table, place: np.ndarray, klass: np.ndarray, codes: np.ndarray) -> pa.Table:
    """The members that are no placeholders, as `dedupe.chain_guard` takes them."""
    names = ["row", "order", "content", "protected"]
    if not members["order_after"].null_count:
        names.append("order_after")
    table = members.select(names).take(pa.array(place))
    return table.append_column("klass", pa.array(klass[place])).append_column("group_value", pa.array(codes[place]))


def _spread_marks(marks: list[str | None], klass: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[str | None]:
    """A picture that is like a placeholder is one: the marks of members, and of those that have a pair with them."""
    result = list(marks)
    numbers = [number for number, mark in enumerate(marks) if mark is not None]
    if not numbers:
        return result
    known = {number: str(marks[number]) for number in numbers}
    touched = np.isin(low, numbers) != np.isin(high, numbers)
    for one, other in zip(low[touched].tolist(), high[touched].tolist(), strict=True):
        name, plain = (known[one], other) if one in known else (known[other], one)
        result[plain] = min(name, result[plain] or name)
    by_class: dict[int, str] = {}
    for number, mark in enumerate(result):
        if mark is not None:
            by_class[int(klass[number])] = min(mark, by_class.get(int(klass[number]), mark))
    return [mark if mark is not None else by_class.get(int(klass[number])) for number, mark in enumerate(result)]


def _codes(column: pa.ChunkedArray, values: list[str]) -> np.ndarray:
    """int32 [m]: the place of each value, -1 for null."""
    places = pc.index_in(column, value_set=pa.array(values, pa.string())).fill_null(-1)
    return places.to_numpy().astype(np.int32)


def _among(row_a: np.ndarray, row_b: np.ndarray, reviewed: np.ndarray) -> np.ndarray:
    """bool [n]: whether each pair of rows is one of these."""
    if not len(reviewed):
        return np.zeros(len(row_a), bool)
    known = {(min(pair), max(pair)) for pair in reviewed.tolist()}
    pairs = zip(row_a.tolist(), row_b.tolist(), strict=True)
    return np.fromiter(((min(pair), max(pair)) in known for pair in pairs), bool, len(row_a))


def _decisions(
    members: pa.Table,
    marked: list[str | None],
    place: np.ndarray,
    covered: Cover,
    settings: Settings,
    classes: Classes,
    groups: np.ndarray | None,
) -> pa.Table:
    """A decision for each member."""
    count = len(members)
    role = np.array([PLACEHOLDER] * count, object)
    kept = np.full(count, -1, np.int64)
    tier = np.full(count, -1, np.int8)
    score = np.full(count, np.nan, np.float32)
    like = place[covered.duplicate_of]
    grouped = np.bincount(covered.duplicate_of, minlength=len(place)) > 1
    role[place] = np.array([ROLES[each] for each in range(len(ROLES))], object)[covered.role]
    role[place[(covered.role == KEEPER) & ~grouped]] = ALONE
    kept[place] = np.where(covered.role == KEEPER, place, like)
    tier[place], score[place] = covered.tier, covered.score
    same = np.flatnonzero((tier == BYTES) | (tier == PIXELS))
    tier[same] = classes.tier(same, kept[same])
    stray = _product_placeholders(members, place, kept, settings)
    names = _group_ids(members, kept)
    for number in stray:
        role[number], marked[number] = PLACEHOLDER, names[number]
    shown = np.isin(role, list(ROLES.values()))
    hidden = ~shown | (tier < 0)
    centre = classes.centres(groups)
    at = pa.array(kept, mask=~shown)
    of = pa.array(centre, mask=centre < 0)
    alike = classes.tier(np.arange(count), centre)
    return pa.table(
        {
            "row": members["row"],
            "role": pa.array(role.tolist(), pa.string()),
            "group_id": pa.array(names, pa.string(), mask=~shown),
            "kept_item_id": members["item_id"].take(at),
            "kept_dataset": members["dataset"].take(at),
            "tier": pa.array(tier, mask=hidden),
            "score": pa.array(score, mask=hidden),
            "centre_item_id": members["item_id"].take(of),
            "centre_dataset": members["dataset"].take(of),
            "centre_tier": pa.array(alike, mask=centre < 0),
            "placeholder": pa.array(marked, pa.string()),
            "why": pa.array([stray.get(number) for number in range(count)], pa.string()),
            "component": pa.array(_first_of_component(members), pa.string()),
        },
        schema=DECISIONS,
    )


def _group_ids(members: pa.Table, kept: np.ndarray) -> np.ndarray:
    """object [m]: the group of each member by the member that is kept; None where none is."""
    names = np.full(len(members), None, object)
    keepers, places = np.unique(kept, return_inverse=True)
    known = keepers >= 0
    chosen = pa.array(keepers[known])
    pairs = zip(members["dataset"].take(chosen).to_pylist(), members["item_id"].take(chosen).to_pylist(), strict=True)
    by_keeper = np.full(len(keepers), None, object)
    by_keeper[known] = [group_id(*pair) for pair in pairs]
    names[:] = by_keeper[places]
    return names


def _product_placeholders(members: pa.Table, place: np.ndarray, kept: np.ndarray, settings: Settings) -> dict[int, str]:
    """The members of groups that span too many products, and why."""
    why = placeholder_groups(kept[place], members.take(pa.array(place)), np.zeros(len(place), bool), settings)
    return {int(place[at]): REASONS[why[at]] for at in np.flatnonzero(why != NOTHING).tolist()}


def _first_of_component(members: pa.Table) -> list[str]:
    """For each member the smallest item id of its component."""
    smallest = members.group_by("component", use_threads=False).aggregate([("item_id", "min")])
    by_component = dict(zip(smallest["component"].to_pylist(), smallest["item_id_min"].to_pylist(), strict=True))
    return [by_component[each] for each in members["component"].to_pylist()]


def group_id(dataset: str | None, item_id: str) -> str:
    """The name of the group whose kept item that is."""
    return xxhash.xxh3_128_hexdigest(f"{dataset or ''}\0{item_id}".encode())[:20]
