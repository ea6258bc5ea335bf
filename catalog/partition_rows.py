"""The rows of a partition: each id once, and compared with what an earlier run left there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

from catalog import storage
from catalog.metadata import comparable
from catalog.rejects import Reason, Reject
from catalog.stored_rows import StoredItem

_DETAILS = {
    Reason.EMPTY_ITEM_ID: "the item id is empty",
    Reason.NO_IMAGE: "the image cell is empty",
    Reason.OUTSIDE_ROOT: "the path leaves the images root",
    Reason.SCHEME_NOT_ALLOWED: "images are read from disks and buckets, not over http(s) or an unknown scheme",
}


def clean(tables: Iterable[pa.Table], reject: Callable[[Reject], None]) -> Iterator[pa.Table]:
    """Sets aside rows with a reason already, and repeated ids.

    Of several rows with one id the one whose content sorts first is kept, so that neither the order of rows nor the
    number of workers decides.

    Args:
        tables: the rows of a partition, sorted by id and content, see `catalog.row_files`; an id may be in several.
        reject: told each row that cannot be tried, with its reason.
    """
    kept_id: str | None = None
    kept_origin = ""
    for table in tables:
        kept = []
        columns = [table[name].to_pylist() for name in ("item_id", "origin", "reason")]
        for row, (item_id, origin, reason) in enumerate(zip(*columns, strict=True)):
            if reason is None and item_id != kept_id:
                kept.append(row)
                kept_id, kept_origin = item_id, origin
                continue
            uri, detail = table["image_uri"][row].as_py(), table["detail"][row].as_py() or _DETAILS.get(reason)
            if reason is None:
                reason, detail = Reason.DUPLICATE_ITEM_ID, f"the id is also in {kept_origin}, which is kept"
            reject(Reject(item_id, origin, reason, uri, detail))
        yield table if len(kept) == len(table) else table.take(pa.array(kept, pa.int64()))


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
    """Clean rows of a partition, a range of ids, beside the stored items and the lasting rejects of the run before."""

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
