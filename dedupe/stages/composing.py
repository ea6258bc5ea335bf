"""Composing: the members of a range of groups in the order of the report, and where their labels disagree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.job import Layout
from dedupe.leakage import label_conflicts

CONFLICTS = pa.schema([("group_id", pa.string()), ("label", pa.string()), ("items", pa.int64())])


def compose(layout: Layout, bucket: int) -> None:
    """Stores the groups of a bucket, keepers first, and their conflicts."""
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
    write_buckets(done, ordered, np.zeros(len(ordered), np.int64), 1)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
