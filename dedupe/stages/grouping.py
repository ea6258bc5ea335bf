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
from dedupe.components import union_find
from dedupe.exact import placeholder_groups
from dedupe.job import Layout
from dedupe.leakage import leakage
from dedupe.placeholders import NOTHING, REASONS
from dedupe.settings import PIXELS, TIERS, Settings

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
        ("placeholder", pa.string()),
        ("why", pa.string()),
        ("component", pa.string()),
    ]
)
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
    klass = _classes(rows, pairs)
    low, high = (np.searchsorted(rows, pairs[name].to_numpy()) for name in ("row_a", "row_b"))
    marked = _spread_marks(members["placeholder"].to_pylist(), klass, low, high)
    open_member = np.array([each is None for each in marked], bool)
    codes = _codes(members["group_value"], values)
    usable = open_member[low] & open_member[high] & ~_among(pairs, reviewed)
    if settings.across:
        usable &= codes[low] != codes[high]
    edges = pairs.filter(pa.array(usable))
    low, high = low[usable], high[usable]
    links = pa.table({"a": klass[low], "b": klass[high], "tier": edges["tier"], "score": edges["score"]})
    kept_members = members.filter(pa.array(open_member)).drop_columns(["group_value", "placeholder"])
    kept_klass, kept_codes = klass[open_member], codes[open_member]
    kept_members = kept_members.append_column("klass", pa.array(kept_klass)).append_column(
        "group_value", pa.array(kept_codes)
    )
    if kept_members["order_after"].null_count:
        kept_members = kept_members.drop_columns(["order_after"])
    covered = cover(kept_members, links, reviewed, settings.across)
    place = np.flatnonzero(open_member)
    decisions = _decisions(members, marked, place, covered, settings, codes)
    ids = _group_of(decisions)
    named = _named(members, edges, low, high, ids)
    shared = leakage(
        rows[place], kept_klass, kept_codes, np.stack([klass[low], klass[high]], axis=1), len(values), reviewed
    )
    return Grouped(decisions, named, shared.items, shared.pairs)


def _classes(rows: np.ndarray, pairs: pa.Table) -> np.ndarray:
    """uint64 [m]: members of the same pixels have the same number."""
    exact = pairs.filter(pc.less_equal(pairs["tier"], PIXELS))
    nodes, labels = union_find(np.stack([exact["row_a"].to_numpy(), exact["row_b"].to_numpy()], axis=1))
    klass = rows.copy()
    klass[np.searchsorted(rows, nodes)] = labels
    return klass.astype(np.uint64)


def _spread_marks(marks: list[str | None], klass: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[str | None]:
    """A picture that is like a placeholder is one: the marks of members, and of those that have a pair with them."""
    result = list(marks)
    numbers = [number for number, mark in enumerate(marks) if mark is not None]
    if not numbers:
        return result
    known = {number: str(marks[number]) for number in numbers}
    for one, other in zip(low.tolist(), high.tolist(), strict=True):
        for marked, plain in ((one, other), (other, one)):
            if marked in known and plain not in known:
                result[plain] = min(known[marked], result[plain] or known[marked])
    by_class: dict[int, str] = {}
    for number, mark in enumerate(result):
        if mark is not None:
            by_class[int(klass[number])] = min(mark, by_class.get(int(klass[number]), mark))
    return [mark if mark is not None else by_class.get(int(klass[number])) for number, mark in enumerate(result)]


def _codes(column: pa.ChunkedArray, values: list[str]) -> np.ndarray:
    """int32 [m]: the place of each value, -1 for null."""
    places = pc.index_in(column, value_set=pa.array(values, pa.string())).fill_null(-1)
    return places.to_numpy().astype(np.int32)


def _among(pairs: pa.Table, reviewed: np.ndarray) -> np.ndarray:
    """bool [n]: whether each pair is one of these."""
    if not len(reviewed):
        return np.zeros(len(pairs), bool)
    known = {tuple(sorted(pair)) for pair in reviewed.tolist()}
    both = zip(pairs["row_a"].to_pylist(), pairs["row_b"].to_pylist(), strict=True)
    return np.fromiter((pair in known for pair in both), bool, len(pairs))


def _decisions(
    members: pa.Table,
    marked: list[str | None],
    place: np.ndarray,
    covered: Cover,
    settings: Settings,
    codes: np.ndarray,
) -> pa.Table:
    """A decision for each member."""
    count = len(members)
    ids, datasets = members["item_id"].to_pylist(), members["dataset"].to_pylist()
    role = np.array([PLACEHOLDER] * count, object)
    kept = np.full(count, -1, np.int64)
    tier = np.full(count, -1, np.int8)
    score = np.full(count, np.nan, np.float32)
    like = place[covered.duplicate_of]
    grouped = np.bincount(covered.duplicate_of, minlength=len(place)) > 1
    role[place] = [ROLES[each] for each in covered.role.tolist()]
    role[place[(covered.role == KEEPER) & ~grouped]] = ALONE
    kept[place] = np.where(covered.role == KEEPER, place, like)
    tier[place], score[place] = covered.tier, covered.score
    stray = _product_placeholders(members, place, kept, settings)
    names = [group_id(datasets[at], ids[at]) if at >= 0 else None for at in kept.tolist()]
    for number, why in stray.items():
        role[number], marked[number] = PLACEHOLDER, f"{names[number]}"
        tier[number], score[number] = -1, np.nan
        stray[number] = why
    shown = np.array([each in ("keeper", "dropped", "protected") for each in role.tolist()], bool)
    first = _first_of_component(members)
    return pa.table(
        {
            "row": members["row"],
            "role": pa.array(role.tolist(), pa.string()),
            "group_id": pa.array(
                [name if here else None for name, here in zip(names, shown.tolist(), strict=True)], pa.string()
            ),
            "kept_item_id": pa.array(
                [ids[at] if here else None for at, here in zip(kept.tolist(), shown.tolist(), strict=True)], pa.string()
            ),
            "kept_dataset": pa.array(
                [datasets[at] if here else None for at, here in zip(kept.tolist(), shown.tolist(), strict=True)],
                pa.string(),
            ),
            "tier": pa.array(tier, mask=tier < 0),
            "score": pa.array(score, mask=np.isnan(score)),
            "placeholder": pa.array(marked, pa.string()),
            "why": pa.array([stray.get(number) for number in range(count)], pa.string()),
            "component": pa.array(first, pa.string()),
        },
        schema=DECISIONS,
    )


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


def _group_of(decisions: pa.Table) -> list[str | None]:
    return decisions["group_id"].to_pylist()


def _named(members: pa.Table, edges: pa.Table, low: np.ndarray, high: np.ndarray, ids: list[str | None]) -> pa.Table:
    a, b = pa.array(low), pa.array(high)
    together = [
        ids[one] if ids[one] == ids[other] else None for one, other in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return pa.table(
        {
            "item_id": members["item_id"].take(a),
            "other_item_id": members["item_id"].take(b),
            "dataset": members["dataset"].take(a),
            "other_dataset": members["dataset"].take(b),
            "tier": pa.array(TIERS).take(edges["tier"].combine_chunks()) if len(edges) else pa.array([], pa.string()),
            "score": edges["score"],
            "hamming": edges["hamming"],
            "hamming_256": edges["hamming_256"],
            "thumbnail_score": edges["thumbnail"],
            "embedding_score": edges["combined"],
            "group_id": pa.array(together, pa.string()),
        },
        schema=NAMED_PAIRS,
    )
