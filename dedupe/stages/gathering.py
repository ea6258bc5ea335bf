"""Gathering: what is known of the items that have a pair, and their pairs, to the bucket of their component."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.earlier import pairs_url
from dedupe.exact import MARKS
from dedupe.job import Layout, Stretch, bucket_of
from dedupe.members import Members, read_members
from dedupe.settings import BYTES

#: An item of a component, as `dedupe.stages.grouping` needs it, with all that it stands for: `named_row` and `item_id`
#: are of the one that is named, `first_id` is the smallest id, `weight` how many they are.
MEMBERS = pa.schema(
    [
        ("row", pa.int64()),
        ("named_row", pa.int64()),
        ("component", pa.int64()),
        ("item_id", pa.string()),
        ("first_id", pa.string()),
        ("dataset", pa.string()),
        ("order", pa.binary()),
        ("order_after", pa.binary()),
        ("content", pa.uint64()),
        ("group_value", pa.string()),
        ("protected", pa.bool_()),
        ("weight", pa.int64()),
        ("products", pa.list_(pa.uint64())),
        ("placeholder", pa.string()),
    ]
)


def gather(layout: Layout, stretch: Stretch) -> None:
    """Stores a stretch's members of components, and the pairs whose lower row is in it, by component."""
    job = layout.job
    done = job.at("members", f"{stretch.number:06d}.arrow")
    if storage.exists(done):
        return
    buckets = range(layout.buckets)
    labels = read_bucket([job.at("labels", f"{each:06d}.arrow") for each in buckets], stretch.number)
    order = np.argsort(labels["row"].to_numpy())
    rows, components = labels["row"].to_numpy()[order], labels["component"].to_numpy()[order]
    pairs = read_bucket([pairs_url(job, each) for each in buckets], stretch.number)
    owner = components[np.searchsorted(rows, pairs["row_a"].to_numpy())]
    whole = pairs.append_column("component", pa.array(owner, pa.int64()))
    write_buckets(
        job.at("linked", f"{stretch.number:06d}.arrow"), whole, bucket_of(owner, layout.buckets), layout.buckets
    )
    if len(rows):
        members = read_members(layout, stretch)
        table = _described(layout, stretch, members, rows, components)
    else:
        table = MEMBERS.empty_table()
    write_buckets(done, table, bucket_of(components, layout.buckets), layout.buckets)


def marks_of(layout: Layout, stretch: Stretch) -> pa.Table:
    """The rows of a stretch that exact classes told to be placeholders, `dedupe.exact.MARKS`: each once, by the
    smallest name."""
    if not layout.job.settings.exact:
        return MARKS.empty_table()
    urls = [layout.job.at("marks", f"{bucket:06d}.arrow") for bucket in range(layout.buckets)]
    marks = read_bucket(urls, stretch.number).sort_by([("row", "ascending"), ("placeholder", "ascending")])
    return marks.filter(pa.array(np.diff(marks["row"].to_numpy(), prepend=-1) != 0))


def _described(
    layout: Layout, stretch: Stretch, members: Members, rows: np.ndarray, components: np.ndarray
) -> pa.Table:
    places = rows - stretch.row
    named, first = pa.array(members.face[places]), pa.array(members.smallest()[places])
    known = members.has_content & layout.job.settings.finds(BYTES)
    marks = marks_of(layout, stretch)
    mark = pc.index_in(pa.array(rows), value_set=_whole(marks["row"]))
    return pa.table(
        {
            "row": pa.array(rows),
            "named_row": pa.array(members.row[members.face[places]]),
            "component": pa.array(components),
            "item_id": members.item_id.take(named),
            "first_id": members.item_id.take(first),
            "dataset": pa.array([layout.job.sources[stretch.source].name or None] * len(rows), pa.string()),
            "order": members.order.take(named),
            "order_after": members.order_after.take(named),
            "content": pa.array(np.where(known, members.content[:, 0], members.row.astype(np.uint64))[places]),
            "group_value": members.group_value.take(named),
            "protected": pa.array(members.protected[places]),
            "weight": pa.array(members.weights()[places]),
            "products": members.products(layout.job.settings.placeholder_products + 1).take(pa.array(places)),
            "placeholder": _whole(marks["placeholder"]).take(mark),
        },
        schema=MEMBERS,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
