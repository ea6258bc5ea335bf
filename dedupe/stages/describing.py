"""Describing: a stretch of items to what its exact copies and its perceptual hashes are looked up by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import canonical_json, storage
from dedupe.bucketed import write_buckets
from dedupe.hash_guard import tells
from dedupe.items import read_items, thumbnails_of
from dedupe.job import Layout, Stretch, bucket_of
from dedupe.leakage import check_groups
from dedupe.members import Members, read_members
from dedupe.multi_index import HashPlan, plan_tables, table_keys
from dedupe.news import is_new
from dedupe.picture_words import write_state, write_words
from dedupe.placeholders import nearly_empty
from dedupe.settings import BYTES, PHASH, PIXELS, Settings

CLASSES = pa.schema(
    [
        ("tier", pa.int8()),
        ("high", pa.uint64()),
        ("low", pa.uint64()),
        ("row", pa.int64()),
        ("weight", pa.int64()),
        ("empty", pa.bool_()),
        ("group_value", pa.string()),
        ("products", pa.list_(pa.uint64())),
    ]
)


def describe(layout: Layout, stretch: Stretch) -> None:
    """Stores what a stretch's items are looked up by, shared out to buckets."""
    job = layout.job
    done = described_url(layout, stretch)
    if storage.exists(done):
        return
    members = read_members(layout, stretch)
    signatures = pa.concat_tables(read_items(layout, stretch, ["phash", "phash_256", "thumbnail"]))
    write_state(layout, stretch, members, signatures)
    new = is_new(layout, stretch)
    thumbnails = thumbnails_of(signatures)
    pictured = ~np.asarray(signatures["thumbnail"].is_null())
    empty = np.zeros(len(members), bool)
    empty[pictured] = nearly_empty(thumbnails[pictured])
    compared = members.compared & ~empty
    write_words(layout, stretch, compared, compared & pictured)
    if job.settings.finds(PHASH) and job.found is None:
        chosen = np.flatnonzero(compared & pictured)
        chosen = chosen[tells(thumbnails[chosen])]
        _write_hashes(layout, stretch, members, signatures, thumbnails, new, chosen)
    most = job.settings.placeholder_products + 1
    tiers = [tier for tier in (BYTES, PIXELS) if job.settings.finds(tier)]
    classes = pa.concat_tables([CLASSES.empty_table(), *(_classes(members, tier, empty, most) for tier in tiers)])
    owners = bucket_of(classes["high"].to_numpy(), layout.buckets)
    write_buckets(job.at("classes", f"{stretch.number:06d}.arrow"), classes, owners, layout.buckets)
    ids = sorted({each for pair in job.settings.ignored for each in pair})
    here = np.flatnonzero(np.asarray(pc.is_in(members.item_id, value_set=pa.array(ids, pa.string()))))
    values = pc.value_counts(members.group_value.drop_null())
    note = {
        "new": int(new.sum()),
        "group_values": {each["values"]: each["counts"] for each in values.to_pylist()},
        "reviewed": {members.item_id[at].as_py(): int(members.row[at]) for at in here.tolist()},
    }
    storage.write(done, canonical_json.dump(note))


def described_url(layout: Layout, stretch: Stretch) -> str:
    """Where it is noted which groups a stretch has, and where the items are that somebody has looked at."""
    return layout.job.at("described", f"{stretch.number:06d}.json")


def group_sizes(layout: Layout) -> dict[str, int]:
    """Items by value of the group column, or by dataset, sorted. Raises UsageError where there are too many values."""
    sizes: Counter[str] = Counter()
    for note in _notes(layout):
        sizes.update(note["group_values"])
    column = layout.job.settings.group_column
    check_groups(len(sizes), f"--group-column {column}" if column else "--datasets")
    return dict(sorted(sizes.items()))


def new_items(layout: Layout) -> int:
    """Items that were compared with all others."""
    return sum(note["new"] for note in _notes(layout))


def reviewed_rows(layout: Layout) -> np.ndarray:
    """int64 [p, 2]: the rows of the pairs that the settings ignore."""
    rows: dict[str, list[int]] = {}
    for note in _notes(layout):
        for item_id, row in note["reviewed"].items():
            rows.setdefault(item_id, []).append(row)
    pairs = [
        (one, other) for a, b in layout.job.settings.ignored for one in rows.get(a, []) for other in rows.get(b, [])
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _notes(layout: Layout) -> Iterator[dict[str, Any]]:
    for stretch in layout.stretches:
        url = described_url(layout, stretch)
        yield canonical_json.load(storage.read_bytes(url), url)


def _classes(members: Members, tier: int, empty: np.ndarray, most: int) -> pa.Table:
    keys, has = (members.content, members.has_content) if tier == BYTES else (members.pixels, members.has_pixels)
    chosen = np.flatnonzero(members.leads & has)
    places = pa.array(chosen)
    return pa.table(
        {
            "tier": pa.array(np.full(len(chosen), tier, np.int8)),
            "high": pa.array(keys[chosen, 0]),
            "low": pa.array(keys[chosen, 1]),
            "row": pa.array(members.row[chosen]),
            "weight": pa.array(members.weights()[chosen]),
            "empty": pa.array(empty[chosen]),
            "group_value": members.group_value.take(places),
            "products": members.products(most).take(places),
        },
        schema=CLASSES,
    )


def hash_plan(layout: Layout) -> HashPlan:
    """How the perceptual hashes of a job are looked up."""
    return plan_tables(64, layout.job.settings.phash_radius, layout.rows)


def compared_words(members: Members, settings: Settings) -> np.ndarray:
    """uint64 [n]: the same for pictures that an exact tier finds to be the same; of one without a hash, its own."""
    words = members.row.astype(np.uint64)
    for tier, has, keys in (
        (BYTES, members.has_content, members.content),
        (PIXELS, members.has_pixels, members.pixels),
    ):
        if settings.finds(tier):
            words = np.where(has, keys[:, 0], words)
    return words


def _write_hashes(
    layout: Layout,
    stretch: Stretch,
    members: Members,
    signatures: pa.Table,
    thumbnails: np.ndarray,
    new: np.ndarray,
    chosen: np.ndarray,
) -> None:
    places = pa.array(chosen)
    phash = signatures["phash"].combine_chunks().take(places)
    hashes = np.asarray(phash).astype(">u8").view(np.uint8).reshape(-1, 8)
    keys = table_keys(hashes, hash_plan(layout))
    entries = pa.table(
        {
            "row": pa.array(members.row[chosen]),
            "klass": pa.array(compared_words(members, layout.job.settings)[chosen]),
            "new": pa.array(new[chosen]),
            "phash": phash,
            "phash_256": signatures["phash_256"].combine_chunks().take(places),
            "thumbnail": _binary(thumbnails[chosen], 192),
        }
    )
    repeated = entries.take(pa.array(np.repeat(np.arange(len(chosen)), keys.shape[1])))
    flat = keys.reshape(-1)
    whole = repeated.append_column("key", pa.array(flat))
    url = layout.job.at("hashes", f"{stretch.number:06d}.arrow")
    write_buckets(url, whole, bucket_of(flat, layout.buckets), layout.buckets)


def _binary(values: np.ndarray, width: int) -> pa.FixedSizeBinaryArray:
    """uint8 [n, width] as a column."""
    data = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, data])
