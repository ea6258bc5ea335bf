"""The rows of one partition: sorted, each id once, and compared with what an earlier run left there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.embedding_file import read_file
from catalog.metadata import comparable
from catalog.rejects import Reason, Reject
from catalog.snapshot import FileEntry

_DETAILS = {
    Reason.EMPTY_ITEM_ID: "the item id is empty",
    Reason.NO_IMAGE: "the image cell is empty",
    Reason.OUTSIDE_ROOT: "the path leaves the images root",
    Reason.SCHEME_NOT_ALLOWED: "images are read from disks and buckets, not over http(s) or an unknown scheme",
}


_PLAIN = ["item_id", "origin", "reason", "image_uri", "detail"]


@dataclass(frozen=True)
class CleanRows:
    """Rows that can be tried, sorted by item id, each id once; and the ones that cannot, with reasons."""

    rows: pa.Table
    rejects: list[Reject]


def clean(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> CleanRows:
    """Sorts the rows of a partition and sets aside those with a reason already, and repeated ids.

    Of several rows with one id the one whose content sorts first is kept, so that neither the order of rows nor the
    number of workers decides.
    """
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    rejects = []
    for row in table.filter(pc.is_valid(table["reason"])).select(_PLAIN).to_pylist():
        detail = row["detail"] or _DETAILS.get(row["reason"])
        rejects.append(Reject(row["item_id"], row["origin"], row["reason"], row["image_uri"], detail))
    good = table.filter(pc.is_null(table["reason"]))
    ids = good["item_id"].to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    kept: list[int] = []
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and ids[order[end]] == ids[order[start]]:
            end += 1
        same = order[start:end]
        if len(same) > 1:
            same = sorted(same, key=lambda i: _content_key(good.slice(i, 1)))
            detail = f"the id is also in {good['origin'][same[0]]}, which is kept"
            for i in same[1:]:
                origin, uri = good["origin"][i].as_py(), good["image_uri"][i].as_py()
                rejects.append(Reject(ids[i], origin, Reason.DUPLICATE_ITEM_ID, uri, detail))
        kept.append(same[0])
        start = end
    return CleanRows(good.take(pa.array(kept, pa.int64())), rejects)


def _content_key(row: pa.Table) -> tuple[str, str, str, str, int]:
    file, _, number = row["origin"][0].as_py().rpartition(" ")  # Of equal rows the first.
    metadata = comparable(row["metadata"] if "metadata" in row.column_names else None, 1)
    return storage.redact(row["image_uri"][0].as_py()), str(row["product_id"][0]), str(metadata), file, int(number)


@dataclass(frozen=True)
class StoredItem:
    """Where an item's current embedding is: file number in the partition, row in that file; and what it came from.
    `metadata` is as `catalog.metadata.comparable` gives it."""

    file: int
    row: int
    image_uri: str
    source_version: str
    product_id: str | None
    metadata: tuple[tuple[str, str], ...]


def stored_items(store: str, files: Sequence[FileEntry]) -> dict[str, StoredItem]:
    """The live items of a partition by item id, without their vectors."""
    items: dict[str, StoredItem] = {}
    columns = ["item_id", "product_id", "image_uri", "source_version", "metadata"]
    for number, entry in enumerate(files):
        removed = set(entry.removed)
        table = read_file(storage.join(store, entry.path), columns)
        metadata = comparable(table["metadata"] if "metadata" in table.column_names else None, len(table))
        plain = (table[name].to_pylist() for name in ("item_id", "image_uri", "source_version", "product_id"))
        for row, (item_id, uri, version, product_id) in enumerate(zip(*plain, strict=True)):
            if item_id not in removed:
                items[item_id] = StoredItem(number, row, uri, version, product_id, metadata[row])
    return items


@dataclass
class PartitionDiff:
    """What a run has to do in one partition; the lists hold row numbers of the clean rows, in order.

    Attributes:
        keep: the stored row still says all that the catalog says.
        update: the image is the same, its product or metadata changed: the vector is copied, not computed.
        encode: new, or the image is another one.
        superseded: item ids whose stored row no longer counts, by file number.
        removed: how many items left the catalog.
    """

    keep: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    encode: list[int] = field(default_factory=list)
    superseded: dict[int, list[str]] = field(default_factory=dict)
    removed: int = 0


def compare(
    rows: pa.Table,
    stored: dict[str, StoredItem],
    versions_of: Callable[[Iterable[str]], Iterable[str | None]],
) -> PartitionDiff:
    """Compares clean rows with the stored items.

    Args:
        rows: clean rows.
        stored: see `stored_items`.
        versions_of: current source version of each image location, None where it cannot be told.
    """
    diff = PartitionDiff()
    records = rows.select(["item_id", "product_id", "image_uri"]).to_pylist()
    metadata = comparable(rows["metadata"] if "metadata" in rows.column_names else None, len(rows))
    known = [
        i
        for i, row in enumerate(records)
        if (item := stored.get(row["item_id"]))
        and storage.redact(item.image_uri) == storage.redact(row["image_uri"])  # Signatures are new every night.
    ]
    current = dict(zip(known, versions_of(records[i]["image_uri"] for i in known), strict=True))
    for i, row in enumerate(records):
        item = stored.get(row["item_id"])
        if item is None or not current.get(i) or current[i] != item.source_version:
            diff.encode.append(i)
        elif item.product_id != row["product_id"] or item.metadata != metadata[i]:
            diff.update.append(i)
        else:
            diff.keep.append(i)
    kept = {records[i]["item_id"] for i in diff.keep}
    named = {row["item_id"] for row in records}
    for item_id, item in stored.items():
        if item_id not in kept:
            diff.superseded.setdefault(item.file, []).append(item_id)
        diff.removed += item_id not in named
    return diff
