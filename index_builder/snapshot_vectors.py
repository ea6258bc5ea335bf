"""The vectors of a snapshot, a partition at a time, in the row order of the index.

Row numbers are dense: partitions in order, inside a partition by item id. A partition's first row number follows from
the snapshot alone, so partitions can be worked on in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.embedding_file import file_schema, read_file
from catalog.metadata import cast, unify
from catalog.snapshot import FileEntry, Snapshot
from catalog.vector_column import read_vectors

ITEM_COLUMNS = ("item_id", "product_id", "image_uri", "metadata")


def row_offsets(snapshot: Snapshot) -> np.ndarray:
    """int64 [partitions + 1]: the first row number of each partition, and the number of rows."""
    counts = np.zeros(snapshot.partitions + 1, np.int64)
    for entry in snapshot.files:
        counts[entry.partition + 1] += entry.live_rows
    return np.cumsum(counts)


def read_partition(store: str, snapshot: Snapshot, partition: int, columns: Sequence[str]) -> pa.Table:
    """The live rows of a partition in row order: `item_id` and `columns`. Metadata is brought to one type."""
    wanted = ["item_id", *(column for column in columns if column != "item_id")]
    pieces = []
    for entry in snapshot.files_of(partition):
        table = read_file(storage.join(store, entry.path), wanted)
        pieces.append(table.filter(pa.array(_live(table, entry))) if entry.removed else table)
    if not pieces:
        return pa.table({"item_id": pa.array([], pa.string())})
    types = [piece.schema.field("metadata").type for piece in pieces if "metadata" in piece.column_names]
    if types:
        pieces = [_with_metadata(piece, unify(types)) for piece in pieces]
    return pa.concat_tables(pieces).sort_by("item_id").combine_chunks()


def _with_metadata(table: pa.Table, target: pa.DataType) -> pa.Table:
    if "metadata" not in table.column_names:
        return table.append_column("metadata", pa.nulls(len(table), target))
    place = table.column_names.index("metadata")
    return table.set_column(place, "metadata", cast(table["metadata"], target))


def partition_vectors(store: str, snapshot: Snapshot, partition: int) -> tuple[list[str], np.ndarray]:
    """Item ids and stored vectors [n, d] of a partition, in row order."""
    ids: list[str] = []
    blocks = [np.empty((0, snapshot.encoder.dimension), np.float32)]
    for entry in snapshot.files_of(partition):
        url = storage.join(store, entry.path)
        table, stored = read_file(url, ["item_id"]), read_vectors(url, snapshot.encoder.dimension)
        if entry.removed:
            live = _live(table, entry)
            table, stored = table.filter(pa.array(live)), stored[live]
        if len(stored):
            ids += table["item_id"].to_pylist()
            blocks.append(stored)
    if len(blocks) <= 2:
        return ids, blocks[-1]  # A file is sorted.
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [ids[row] for row in order], np.concatenate(blocks[1:])[order]


def metadata_type(store: str, snapshot: Snapshot) -> pa.DataType | None:
    """The struct type that holds the metadata of all files; None where there is none."""
    types = []
    for entry in snapshot.files:
        schema = file_schema(storage.join(store, entry.path))
        if "metadata" in schema.names:
            types.append(schema.field("metadata").type)
    return unify(types) if types else None


def rows_of_files(store: str, snapshot: Snapshot, partition: int, first_row: int) -> list[tuple[FileEntry, np.ndarray]]:
    """For each file of a partition, int64 [rows]: the row number of each of its rows, -1 where it was removed.

    Args:
        store: URL of the embedding store.
        snapshot: the snapshot.
        partition: the partition.
        first_row: its first row number, from `row_offsets`.
    """
    entries = snapshot.files_of(partition)
    tables = [read_file(storage.join(store, entry.path), ["item_id"]) for entry in entries]
    live = [_live(table, entry) for table, entry in zip(tables, entries, strict=True)]
    ids = [
        item_id
        for table, mask in zip(tables, live, strict=True)
        for item_id, alive in zip(table["item_id"].to_pylist(), mask, strict=True)
        if alive
    ]
    rank = np.empty(len(ids), np.int64)
    rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    result, taken = [], 0
    for entry, mask in zip(entries, live, strict=True):
        numbers = np.full(len(mask), -1, np.int64)
        alive = int(mask.sum())
        numbers[mask] = first_row + rank[taken : taken + alive]
        taken += alive
        result.append((entry, numbers))
    return result


def _live(table: pa.Table, entry: FileEntry) -> np.ndarray:
    if not entry.removed:
        return np.ones(len(table), bool)
    removed = set(entry.removed)
    return np.array([item_id not in removed for item_id in table["item_id"].to_pylist()], bool)
