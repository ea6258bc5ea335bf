"""The items of a stretch, as far as dedupe needs them, in the order of their row numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.embedding_file import vectors_of
from catalog.metadata import as_texts, cast
from dedupe.job import Layout, Stretch
from dedupe.metadata_columns import from_text
from index_builder.assembly.snapshot_vectors import partition_tables

#: What a picture is told by; all of it is null for an imported vector.
SIGNATURES: dict[str, pa.DataType] = {
    "content_hash": pa.binary(32),
    "pixel_hash": pa.binary(16),
    "phash": pa.uint64(),
    "phash_256": pa.binary(32),
    "thumbnail": pa.binary(192),
    "width": pa.int32(),
    "height": pa.int32(),
    "bytes": pa.int64(),
    "image_uri": pa.string(),
}


def read_items(layout: Layout, stretch: Stretch, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The items of a stretch, in tables of some thousand rows.

    Args:
        layout: of the job.
        stretch: which rows.
        columns: of embedding files; `item_id` is always there, others are null where a file does not have them.
            `metadata` is a struct of the columns that the settings name, of one type in all tables.

    Returns:
        Tables with `row` (int64) and the columns.
    """
    row = stretch.row
    store = layout.job.sources[stretch.source].store
    snapshot = layout.snapshots[stretch.source]
    target = pa.struct(list(from_text(layout.job.columns)))
    for partition in range(stretch.first, stretch.last):
        for table in partition_tables(store, snapshot, partition, columns):
            count = len(table)
            arrays = {"row": pa.array(np.arange(row, row + count)), "item_id": table["item_id"]}
            for name in columns:
                missing = name not in table.column_names
                arrays[name] = pa.nulls(count, SIGNATURES.get(name, pa.string())) if missing else table[name]
            if "metadata" in columns:
                arrays["metadata"] = _metadata(table, target)
            yield pa.table(arrays)
            row += count


def _metadata(table: pa.Table, target: pa.DataType) -> pa.Array:
    if "metadata" not in table.column_names or not target.num_fields:
        return pa.nulls(len(table), target)
    return cast(table["metadata"], target)


def read_vectors(layout: Layout, stretch: Stretch) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """The same with `thumbnail`, `pixel_hash` and `content_hash`, and float32 [n, d] the stored vectors."""
    dimension = layout.snapshots[stretch.source].encoder.dimension
    for table in read_items(layout, stretch, ["thumbnail", "pixel_hash", "content_hash", "embedding"]):
        yield table, vectors_of(table["embedding"], dimension).astype(np.float32)


def thumbnails_of(table: pa.Table) -> np.ndarray:
    """uint8 [n, 192]: the `thumbnail` column; zeros where it is null."""
    return bytes_of(table["thumbnail"], 192)


def bytes_of(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """uint8 [n, width]: a column of fixed binary; zeros where it is null."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        return np.empty((0, width), np.uint8)
    if array.null_count:
        array = pc.fill_null(array, pa.scalar(bytes(width), pa.binary(width)))
    data = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.empty(0, np.uint8)
    return data.reshape(-1, width)[array.offset : array.offset + len(array)] if len(array) else data.reshape(0, width)


def text_column(table: pa.Table, column: str | None) -> pa.Array:
    """A metadata column that the settings name, as text; or another column, such as `product_id`."""
    if column is None:
        return pa.nulls(len(table), pa.string())
    if table["metadata"].type.get_field_index(column) < 0:
        return _whole(table[column])
    values = _whole(pc.struct_field(table["metadata"], column))
    return values if pa.types.is_string(values.type) else pa.array(as_texts(values), pa.string())


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.array([], column.type) if isinstance(whole, pa.ChunkedArray) else whole
