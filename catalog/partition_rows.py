"""The rows of one partition: sorted, each id once, and compared with what an earlier run left there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

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
    content_hash: bytes
    product_id: str | None
    metadata: tuple[tuple[str, str], ...]


def stored_items(store: str, files: Sequence[FileEntry]) -> dict[str, StoredItem]:
    """The live items of a partition by item id, without their vectors."""
    items: dict[str, StoredItem] = {}
    names = ("item_id", "image_uri", "source_version", "content_hash", "product_id")
    for number, entry in enumerate(files):
        removed = set(entry.removed)
        table = read_file(storage.join(store, entry.path), [*names, "metadata"])
        metadata = comparable(table["metadata"] if "metadata" in table.column_names else None, len(table))
        plain = (table[name].to_pylist() for name in names)
        for row, (item_id, uri, version, content, product_id) in enumerate(zip(*plain, strict=True)):
            if item_id not in removed:
                items[item_id] = StoredItem(number, row, uri, version, content, product_id, metadata[row])
    return items


class Changes(StrEnum):
    """What tells that an image is another one than last time."""

    STORE = "store"  # Its location, or the store's version of it: one cheap request an image.
    COLUMN = "column"  # Its location, or a column of the catalog: no request at all.
    CONTENT = "content"  # Its bytes: every image is read.


@dataclass
class PartitionDiff:
    """What a run has to do in one partition; the lists hold row numbers of the clean rows, in order.

    Attributes:
        keep: the stored row still says all that the catalog says.
        update: the image is the same, its product or metadata changed: the vector is copied, not computed.
        read: new, perhaps another image, or not to be told without its bytes.
        rejected: the image was rejected before, for a reason of its own, and is still the same.
    """

    keep: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)


class PartitionRows:
    """The clean rows of a partition beside the stored items and the lasting rejects of the run before."""

    def __init__(
        self, rows: pa.Table, stored: dict[str, StoredItem], rejected: dict[str, Reject] | None = None
    ) -> None:
        self.table = rows
        self._stored = stored
        self._rejected = rejected or {}
        self._ids = rows["item_id"].to_pylist()
        self._products = rows["product_id"].to_pylist()
        self.uris: list[str] = rows["image_uri"].to_pylist()
        self.versions: list[str | None] = rows["source_version"].to_pylist()
        self._metadata = comparable(rows["metadata"] if "metadata" in rows.column_names else None, len(rows))

    def __len__(self) -> int:
        return len(self._ids)

    def stored(self, row: int) -> StoredItem | None:
        """What is stored under the row's item id."""
        return self._stored.get(self._ids[row])

    def rejected(self, row: int) -> Reject | None:
        """How the row's item was rejected before."""
        return self._rejected.get(self._ids[row])

    def was_at(self, row: int) -> str | None:
        """Where the image of the row's item was, when it was embedded or rejected before."""
        before = self.stored(row) or self.rejected(row)
        return before.image_uri if before else None

    def says_the_same(self, row: int) -> bool:
        """Whether the stored row has the same place, product and metadata. Queries of a location, which are
        signatures as a rule, do not count: they are not stored."""
        item = self.stored(row)
        return (
            item is not None
            and item.image_uri == storage.redact(self.uris[row])
            and item.product_id == self._products[row]
            and item.metadata == self._metadata[row]
        )

    def removed(self) -> int:
        """How many stored items have no row."""
        named = set(self._ids)
        return sum(item_id not in named for item_id in self._stored)

    def superseded(self, kept: Iterable[int]) -> dict[int, list[str]]:
        """The item ids whose stored row no longer counts, by file number, when the given rows keep theirs."""
        keeps = {self._ids[row] for row in kept}
        gone: dict[int, list[str]] = {}
        for item_id, item in self._stored.items():
            if item_id not in keeps:
                gone.setdefault(item.file, []).append(item_id)
        return gone


def compare(
    rows: PartitionRows, changes: Changes, versions_of: Callable[[Sequence[str]], Iterable[str | None]]
) -> PartitionDiff:
    """Compares clean rows with the stored items.

    Args:
        rows: the rows and what is stored.
        changes: what tells that an image changed.
        versions_of: current source version of each image location, None where it cannot be told.
    """
    diff = PartitionDiff()
    same_place = [row for row in range(len(rows)) if rows.was_at(row) == storage.redact(rows.uris[row])]
    current: dict[int, str | None] = {}
    if changes is Changes.STORE:
        current = dict(zip(same_place, versions_of([rows.uris[row] for row in same_place]), strict=True))
    elif changes is Changes.COLUMN:
        # Of a location with a query nobody knows whether that is a signature or names the image: it is read.
        current = {row: rows.versions[row] for row in same_place if storage.redact(rows.uris[row]) == rows.uris[row]}
    for row in range(len(rows)):
        before = rows.stored(row) or rows.rejected(row)
        if before is None or not current.get(row) or current[row] != before.source_version:
            diff.read.append(row)
        elif isinstance(before, Reject):
            diff.rejected.append(row)
        elif rows.says_the_same(row):
            diff.keep.append(row)
        else:
            diff.update.append(row)
    return diff
