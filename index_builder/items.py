"""`items.arrow`: row number of the index to item, product, image and metadata, memory-mapped, O(1).

An uncompressed Arrow IPC file whose batches all have the same number of rows, so that a row number is a batch and a
position in it. Rows are ordered by partition and then by item id, and the footer says where partitions begin, so that
an item id is found by hash and binary search.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import IntegrityError
from catalog.metadata import cast, to_dict
from catalog.partition import partitions_of

_ROWS = 16_384
_OFFSETS = b"catalog_indexer.partition_offsets"


def write_items(path: Path, parts: Iterable[pa.Table], offsets: np.ndarray, metadata: pa.DataType | None) -> None:
    """Writes the items of all partitions, in row order.

    Args:
        path: the file to write.
        parts: tables with item_id, product_id, image_uri and, where there is any, metadata.
        offsets: int64 [partitions + 1], the first row number of each partition.
        metadata: the struct type of the metadata, None where there is none.
    """
    fields = [("item_id", pa.string()), ("product_id", pa.string()), ("image_uri", pa.string())]
    if metadata is not None:
        fields.append(("metadata", metadata))
    schema = pa.schema(fields, {_OFFSETS: json.dumps(offsets.tolist()).encode()})
    with pa.ipc.new_file(str(path), schema) as writer:
        waiting = schema.empty_table()
        for part in parts:
            if len(part) == 0:
                continue
            for name in schema.names:
                if name not in part.column_names:
                    part = part.append_column(name, pa.nulls(len(part), schema.field(name).type))
            if metadata is not None:
                place = part.column_names.index("metadata")
                part = part.set_column(place, "metadata", cast(part["metadata"], metadata))
            waiting = pa.concat_tables([waiting, part.select(schema.names).cast(schema)])
            while len(waiting) >= _ROWS:
                writer.write_batch(waiting.slice(0, _ROWS).combine_chunks().to_batches()[0])
                waiting = waiting.slice(_ROWS)
        if len(waiting):
            writer.write_batch(waiting.combine_chunks().to_batches()[0])


class Items:
    """A memory-mapped `items.arrow`."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        except pa.ArrowInvalid as error:
            raise IntegrityError(f"{path} is damaged: {error}") from None
        self._has_metadata = "metadata" in self._file.schema.names
        self._offsets = np.array(json.loads((self._file.schema.metadata or {})[_OFFSETS]), np.int64)

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def item(self, row: int) -> dict[str, Any]:
        """item_id, product_id, image_uri and metadata (a dict) of a row."""
        batch, place = self._file.get_batch(row // _ROWS), row % _ROWS
        item = {name: batch.column(name)[place].as_py() for name in ("item_id", "product_id", "image_uri")}
        return {**item, "metadata": to_dict(batch.column("metadata")[place] if self._has_metadata else None)}

    def item_id(self, row: int) -> str:
        """The item id of a row."""
        return str(self._file.get_batch(row // _ROWS).column("item_id")[row % _ROWS].as_py())

    def row_of(self, item_id: str) -> int | None:
        """The row of an item id, None where there is no such item."""
        partition = int(partitions_of([item_id], len(self._offsets) - 1)[0])
        low, high = int(self._offsets[partition]), int(self._offsets[partition + 1])
        while low < high:
            middle = (low + high) // 2
            found = self.item_id(middle)
            if found == item_id:
                return middle
            low, high = (middle + 1, high) if found < item_id else (low, middle)
        return None
