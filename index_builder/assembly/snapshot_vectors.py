"""The vectors of a snapshot, a partition at a time, in the row order of the index.

Row numbers are dense: partitions in order, inside a partition by item id. A partition's first row number follows from
the snapshot alone, so partitions can be worked on in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.embedding_file import damaged, file_schema, read_file
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
        pieces.append(table.filter(pa.array(_live(table["item_id"], entry))) if entry.removed else table)
    if not pieces:
        return pa.table({"item_id": pa.array([], pa.string())})
    types = [piece.schema.field("metadata").type for piece in pieces if "metadata" in piece.column_names]
    if types:
        pieces = [_with_metadata(piece, unify(types)) for piece in pieces]
    # A file is sorted, by code points, which is the order of the UTF-8 bytes too.
    whole = pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces).sort_by("item_id")
    return whole.combine_chunks()


def _with_metadata(table: pa.Table, target: pa.DataType) -> pa.Table:
    if "metadata" not in table.column_names:
        return table.append_column("metadata", pa.nulls(len(table), target))
    place = table.column_names.index("metadata")
    return table.set_column(place, "metadata", cast(table["metadata"], target))


def partition_ids(store: str, snapshot: Snapshot, partition: int) -> list[str]:
    """The item ids of a partition, in row order."""
    return read_partition(store, snapshot, partition, ())["item_id"].to_pylist()


def partition_vectors(store: str, snapshot: Snapshot, partition: int) -> np.ndarray:
    """The stored vectors [n, d] of a partition, in row order."""
    places, blocks = [], []
    for entry, numbers in rows_of_files(store, snapshot, partition, 0):
        stored, live = file_vectors(store, snapshot, entry), numbers >= 0
        if live.any():
            places.append(numbers[live])
            blocks.append(stored if live.all() else stored[live])
    if not blocks:
        return np.empty((0, snapshot.encoder.dimension), np.float32)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)[np.argsort(np.concatenate(places))]


def file_vectors(store: str, snapshot: Snapshot, entry: FileEntry) -> np.ndarray:
    """The stored vectors [rows, d] of a file. Raises IntegrityError where they are not as many as the snapshot says."""
    url = storage.join(store, entry.path)
    stored = read_vectors(url, snapshot.encoder.dimension)
    if len(stored) != entry.rows:
        raise damaged(url, f"it has {len(stored):,} rows where snapshot {snapshot.sequence} says {entry.rows:,}")
    return stored


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
    if len(entries) == 1 and not entries[0].removed:
        return [(entries[0], first_row + np.arange(entries[0].rows))]  # A file is sorted: there is nothing to read.
    ids = [read_file(storage.join(store, entry.path), ["item_id"])["item_id"] for entry in entries]
    live = [_live(each, entry) for each, entry in zip(ids, entries, strict=True)]
    chunks = [each.filter(pa.array(mask)).chunks for each, mask in zip(ids, live, strict=True)]
    everyone = pa.chunked_array([chunk for some in chunks for chunk in some], pa.string())
    rank = np.empty(len(everyone), np.int64)
    rank[pc.sort_indices(everyone).to_numpy()] = np.arange(len(everyone))  # By UTF-8 bytes, as files are sorted.
    result, taken = [], 0
    for entry, mask in zip(entries, live, strict=True):
        numbers = np.full(len(mask), -1, np.int64)
        alive = int(mask.sum())
        numbers[mask] = first_row + rank[taken : taken + alive]
        taken += alive
        result.append((entry, numbers))
    return result


def _live(ids: pa.ChunkedArray, entry: FileEntry) -> np.ndarray:
    """bool [rows]: whether each row of a file counts."""
    return ~pc.is_in(ids, value_set=pa.array(entry.removed, pa.string())).to_numpy().astype(bool)
