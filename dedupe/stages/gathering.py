"""Gathering: what is known of the items that have a pair, and their pairs, to the bucket of their component."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.earlier import pairs_url
from dedupe.job import Layout, Stretch, bucket_of
from dedupe.members import Members, read_members

#: An item of a component, as `dedupe.stages.grouping` needs it.
MEMBERS = pa.schema(
    [
        ("row", pa.int64()),
        ("component", pa.int64()),
        ("item_id", pa.string()),
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


def marks_of(layout: Layout, stretch: Stretch) -> dict[int, tuple[str, str]]:
    """The rows of a stretch that exact classes told to be placeholders: which, and why."""
    urls = [layout.job.at("marks", f"{bucket:06d}.arrow") for bucket in range(layout.buckets)]
    if not layout.job.settings.exact:
        return {}
    marks = read_bucket(urls, stretch.number).sort_by([("row", "ascending"), ("placeholder", "descending")])
    columns = (marks[name].to_pylist() for name in ("row", "placeholder", "why"))
    return {row: (name, why) for row, name, why in zip(*columns, strict=True)}


def _described(
    layout: Layout, stretch: Stretch, members: Members, rows: np.ndarray, components: np.ndarray
) -> pa.Table:
    # All with one leader have its hashes, group value and products.
    places = pa.array(members.face[rows - stretch.row])
    marks = marks_of(layout, stretch)
    return pa.table(
        {
            "row": pa.array(rows),
            "component": pa.array(components),
            "item_id": members.item_id.take(places),
            "dataset": pa.array([layout.job.sources[stretch.source].name or None] * len(rows), pa.string()),
            "order": members.order.take(places),
            "order_after": members.order_after.take(places),
            "content": pa.array(
                np.where(members.has_content, members.content[:, 0], members.row.astype(np.uint64))[rows - stretch.row]
            ),
            "group_value": members.group_value.take(places),
            "protected": pa.array(members.protected[rows - stretch.row]),
            "weight": pa.array(members.weights()[rows - stretch.row]),
            "products": members.products().take(places),
            "placeholder": pa.array([marks.get(row, (None, None))[0] for row in rows.tolist()], pa.string()),
        },
        schema=MEMBERS,
    )
