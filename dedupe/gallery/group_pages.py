"""Groups as pages of data, and what a filter has to know of every group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from catalog import storage
from dedupe.gallery.contents import (
    GROUPS_A_PAGE,
    MEMBERS_SHOWN,
    PAGE_BYTES,
    SEARCH_FILE_BYTES,
    TIERS,
)
from dedupe.gallery.data_files import DataFiles, Put, shortened
from dedupe.gallery.pictures import Pictures

# Of a member's texts, the column and the name on the page.
_TEXTS = {
    "item_id": "id",
    "role": "role",
    "tier": "tier",
    "reason": "why",
    "product_id": "product",
    "group_value": "value",
    "dataset": "dataset",
    "label": "label",
}
_NUMBERS = ("score", "width", "height", "bytes")
_COLUMNS = ("group_id", "image_uri", *_TEXTS, *_NUMBERS)
_ROWS_AT_ONCE = 1_024
# Ids of a group that are held; those of a larger one go to a search file before the group ends.
_IDS_HELD = 100_000


class GroupPages:
    """Pages `groups-<n>`, each a list of groups, and files `search-<n>`, each a list of what filters ask.

    An entry of a search file is [page, items, tiers, lowest score or null, 1 where the group crosses a border, group
    id, item ids by line]; one of [item ids] belongs to the group of the next entry that is longer. Tiers are a mask,
    bit n for `TIERS[n]`. Held are one page, one search file, and of a group the members that are shown.

    Attributes:
        groups: so far.
        pages: of groups that are stored.
        search_files: that are stored.
    """

    def __init__(self, put: Put, pictures: Pictures) -> None:
        self._pictures = pictures
        self._page = DataFiles("groups", put, PAGE_BYTES, GROUPS_A_PAGE)
        self._search = DataFiles("search", put, SEARCH_FILE_BYTES)
        self.groups = 0

    @property
    def pages(self) -> int:
        return self._page.files

    @property
    def search_files(self) -> int:
        return self._search.files

    def write(self, batches: Iterator[pa.RecordBatch]) -> None:
        """Writes all groups.

        Args:
            batches: rows as in `GalleryContents.groups`.
        """
        group: _Group | None = None
        for rows in _rows(batches):
            for row in rows:
                if group is None or group.id != row["group_id"]:
                    self._close(group)
                    group = _Group(row["group_id"])
                group.add(row)
                if group.items <= MEMBERS_SHOWN:
                    group.shown.append(self._member(row))
                if group.held > _IDS_HELD:
                    self._search.add([group.take_ids()])
        self._close(group)
        self._page.close()
        self._search.close()

    def _close(self, group: _Group | None) -> None:
        if group is None:
            return
        name, crosses = str(group.id), int(group.crosses)
        found = {"items": group.items, "tiers": group.tiers, "lowest": group.lowest, "crosses": crosses}
        page = self._page.add({"id": shortened(name), **found, "members": group.shown})
        self._search.add([page, *found.values(), name, group.take_ids()])
        self.groups += 1

    def _member(self, row: Mapping[str, Any]) -> dict[str, Any]:
        uri, thumbnail = row["image_uri"], row["thumbnail"]
        return {
            **{name: shortened(row[column]) for column, name in _TEXTS.items()},
            **{name: row[name] for name in _NUMBERS},
            "uri": None if uri is None else shortened(storage.redact(uri)),
            **self._pictures.shown(uri, None if thumbnail is None else thumbnail.as_py()),
        }


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[dict[str, Any]]]:
    """Rows with all columns, a slice at a time; thumbnails as Arrow has them, for few of a large group are shown."""
    for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            part = batch.slice(start, _ROWS_AT_ONCE)
            absent = [None] * len(part)
            columns = [part[name].to_pylist() if name in part.schema.names else absent for name in _COLUMNS]
            images = part["thumbnail"] if "thumbnail" in part.schema.names else absent
            names = (*_COLUMNS, "thumbnail")
            yield (dict(zip(names, values, strict=True)) for values in zip(*columns, images, strict=True))


class _Group:
    """What is known of a group whose rows are still coming."""

    def __init__(self, group_id: Any) -> None:
        self.id = group_id
        self.items = 0
        self.tiers = 0
        self.lowest: float | None = None
        self.crosses = False
        self.held = 0
        self.shown: list[dict[str, Any]] = []
        self._sides: dict[str, Any] = {}
        self._ids: list[str] = []

    def add(self, row: Mapping[str, Any]) -> None:
        self.items += 1
        if row["tier"] in TIERS:
            self.tiers |= 1 << TIERS.index(row["tier"])
        score = row["score"]
        if score is not None and score == score:  # not NaN
            self.lowest = score if self.lowest is None else min(self.lowest, score)
        for border in ("dataset", "group_value"):
            if row[border] is not None and self._sides.setdefault(border, row[border]) != row[border]:
                self.crosses = True
        item_id = str(row["item_id"])
        self._ids.append(item_id)
        self.held += len(item_id) + 1

    def take_ids(self) -> str:
        """The ids since the last time, by line."""
        taken, self._ids, self.held = "\n".join(self._ids), [], 0
        return taken
