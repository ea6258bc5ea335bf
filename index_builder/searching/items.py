"""`items.arrow`: row number of the index to item, product, image and metadata, memory-mapped, O(1).

Uncompressed Arrow IPC files, one or one for each range of rows. All batches of a file have the same number of rows, so
that a row number is a batch and a position in it. Rows are ordered by partition and then by item id, and the schema
says where partitions begin, so that an item id is found by hash and binary search.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import IntegrityError
from catalog.metadata import cast, to_dict
from catalog.partition import partitions_of

_ROWS = 16_384
_OFFSETS = b"catalog_indexer.partition_offsets"
_FIRST_ROW = b"catalog_indexer.first_row"
# Batches kept at hand, a few kilobytes each: their data stays in the mapped file.
_BATCHES = 1_024
_PLAIN = ("item_id", "product_id", "image_uri")


def write_items(
    path: Path, parts: Iterable[pa.Table], offsets: np.ndarray, metadata: pa.DataType | None, first_row: int = 0
) -> None:
    """Writes the items of consecutive partitions, in row order.

    Args:
        path: the file to write.
        parts: tables with item_id, product_id, image_uri and, where there is any, metadata.
        offsets: int64 [partitions + 1], the first row number of each partition, of those in other files too.
        metadata: the struct type of the metadata, None where there is none.
        first_row: row number of the first row in this file.
    """
    fields = [(name, pa.string()) for name in _PLAIN]
    if metadata is not None:
        fields.append(("metadata", metadata))
    notes = {_OFFSETS: json.dumps(np.asarray(offsets).tolist()).encode(), _FIRST_ROW: str(first_row).encode()}
    schema = pa.schema(fields, notes)
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


class _Shard:
    """One memory-mapped file: the rows `first` to `first + rows` - 1."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
            notes = self._file.schema.metadata or {}
            self.offsets = np.array(json.loads(notes[_OFFSETS]), np.int64)
            self.first = int(notes.get(_FIRST_ROW, b"0"))
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            raise IntegrityError(f"{path} is damaged: {error}") from None
        self.schema = self._file.schema
        self.batches = self._file.num_record_batches
        self.read = _reader(self._file)
        self.batch = lru_cache(_BATCHES)(self.read)  # Knows nothing of this object, so that both go when it goes.
        self.batch_rows = len(self.batch(0)) if self.batches else 1
        self.rows = (self.batches - 1) * self.batch_rows + len(self.batch(self.batches - 1)) if self.batches else 0


def _reader(file: Any) -> Callable[[int], pa.RecordBatch]:
    reading = threading.Lock()  # The file reader is not meant for many threads; what it gives is.

    def read(number: int) -> pa.RecordBatch:
        with reading:
            return file.get_batch(number)

    return read


class Items:
    """Memory-mapped items, in one file or several. Safe to use from many threads at once.

    Args:
        paths: the files, in row order.

    Raises:
        IntegrityError: a file is damaged, or the files do not follow one another from the first row to the last.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._shards = [_Shard(path) for path in paths]
        self._offsets = self._shards[0].offsets
        self._firsts = np.array([shard.first for shard in self._shards])
        ends = [0, *(shard.first + shard.rows for shard in self._shards)]
        if self._firsts.tolist() != ends[:-1] or ends[-1] != len(self):
            names = ", ".join(path.name for path in paths)
            raise IntegrityError(f"{names} do not hold the rows 0 to {len(self) - 1:,} one after the other")
        schema = self._shards[0].schema
        self._metadata = schema.field("metadata").type if "metadata" in schema.names else None

    def __len__(self) -> int:
        return int(self._offsets[-1])

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Name and type of what items can be chosen by: `product_id`, and the columns of the metadata."""
        fields = {field.name: field.type for field in self._metadata} if self._metadata is not None else {}
        return {**fields, "product_id": pa.string()}

    def blocks(self, column: str) -> Iterator[tuple[int, pa.Array]]:
        """The values of `item_id` or one of `columns`, a block at a time: the row of the first, and they."""
        for shard in self._shards:
            for number in range(shard.batches):
                batch = shard.read(number)  # Past the batches at hand, which are those of the latest results.
                if column in ("item_id", "product_id"):
                    values = batch.column(column)
                else:
                    values = pc.struct_field(batch.column("metadata"), [column])
                yield shard.first + number * shard.batch_rows, values

    def ids(self, first: int, last: int) -> pa.Array:
        """The item ids of the rows `first` to `last` - 1."""
        found = []
        for shard in self._shards:
            row, end = max(first, shard.first), min(last, shard.first + shard.rows)
            while row < end:
                number, place = divmod(row - shard.first, shard.batch_rows)
                part = shard.read(number).column("item_id").slice(place, end - row)
                found.append(part)
                row += len(part)
        return pa.concat_arrays(found) if found else pa.array([], pa.string())

    @property
    def partition_starts(self) -> np.ndarray:
        """int64 [partitions]: the first row of each partition."""
        return self._offsets[:-1]

    def item(self, row: int) -> dict[str, Any]:
        """item_id, product_id, image_uri (None where there is no picture) and metadata (a dict) of a row."""
        batch, place = self._place(row)
        item = {name: batch.column(name)[place].as_py() for name in _PLAIN}
        return {**item, "metadata": to_dict(batch.column("metadata")[place] if self._metadata is not None else None)}

    def item_id(self, row: int) -> str:
        """The item id of a row."""
        batch, place = self._place(row)
        return str(batch.column(0)[place].as_py())

    def row_of(self, item_id: str) -> int | None:
        """The row of an item id, None where there is no such item."""
        row = int(self.rows_of([item_id])[0])
        return row if row >= 0 else None

    def rows_of(self, item_ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each item id, -1 where there is no such item."""
        partitions = partitions_of(item_ids, len(self._offsets) - 1)
        return np.array([self._find(*pair) for pair in zip(item_ids, partitions.tolist(), strict=True)], np.int64)

    def _find(self, item_id: str, partition: int) -> int:
        low, high = int(self._offsets[partition]), int(self._offsets[partition + 1])
        while low < high:
            middle = (low + high) // 2
            found = self.item_id(middle)
            if found == item_id:
                return middle
            low, high = (middle + 1, high) if found < item_id else (low, middle)
        return -1

    def _place(self, row: int) -> tuple[pa.RecordBatch, int]:
        shard = self._shards[int(np.searchsorted(self._firsts, row, side="right")) - 1 if len(self._shards) > 1 else 0]
        number, place = divmod(row - shard.first, shard.batch_rows)
        return shard.batch(number), place
