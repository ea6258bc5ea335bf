"""Composing: members of groups and pairs in the order of the report, and where labels in a group disagree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.job import Layout
from dedupe.leakage import label_conflicts
from dedupe.named_pairs import NAMED_PAIRS
from dedupe.roles import texts
from dedupe.settings import TIERS

#: Pairs as a report has them.
PAIRS = pa.schema(
    [
        field.with_type(pa.string()) if field.name == "tier" else field
        for field in NAMED_PAIRS
        if field.name not in ("row", "other_row")
    ]
)
CONFLICTS = pa.schema([("group_id", pa.string()), ("label", pa.string()), ("items", pa.int64())])


def compose(layout: Layout, bucket: int) -> None:
    """Stores the groups of a range of names, keepers first, and their conflicts; and the pairs of a range of rows."""
    job = layout.job
    done = job.at("composed", f"{bucket:06d}.arrow")
    if storage.exists(done):
        return
    urls = [job.at("groups", f"{stretch.number:06d}.arrow") for stretch in layout.stretches]
    rows = read_bucket(urls, bucket)
    first = pc.if_else(pc.equal(rows["role"], "keeper"), 0, 1)
    ordered = rows.append_column("first", first).sort_by(
        [("group_id", "ascending"), ("first", "ascending"), ("score", "descending"), ("item_id", "ascending")]
    )
    ordered = ordered.drop_columns(["first"])
    names = _whole(ordered["group_id"])
    encoded = names.dictionary_encode()
    found = label_conflicts(np.asarray(encoded.indices).astype(np.int64), _whole(ordered["label"]))
    conflicts = pa.table(
        {
            "group_id": encoded.dictionary.take(pa.array(found["group"].to_numpy())),
            "label": found["label"],
            "items": found["items"],
        },
        schema=CONFLICTS,
    )
    url = job.at("conflicts", f"{bucket:06d}.arrow")
    write_buckets(url, conflicts, np.zeros(len(conflicts), np.int64), 1)
    _write_pairs(layout, bucket)
    write_buckets(done, ordered, np.zeros(len(ordered), np.int64), 1)


def _write_pairs(layout: Layout, bucket: int) -> None:
    urls = [layout.job.at("named", f"{each:06d}.arrow") for each in range(layout.buckets)]
    urls += [layout.job.at("copies", f"{stretch.number:06d}.arrow") for stretch in layout.stretches]
    pairs = read_bucket(urls, bucket).sort_by([("row", "ascending"), ("other_row", "ascending")])
    tiers = texts(TIERS, pairs["tier"].to_numpy())
    told = pairs.set_column(pairs.column_names.index("tier"), "tier", tiers).select(PAIRS.names)
    write_buckets(layout.job.at("paired", f"{bucket:06d}.arrow"), told.cast(PAIRS), np.zeros(len(told), np.int64), 1)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
