"""The vectors of a snapshot, partition by partition and in blocks of bounded size, in the row order of the index.

Row numbers are dense: partitions in order, inside a partition by item id. A partition's first row number follows from
the snapshot alone, so partitions can be worked on in any order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.embedding_file import EmbeddingFile, completed, damaged, file_schema, read_file
from catalog.id_slices import IdStream, slices
from catalog.metadata import cast, unify
from catalog.snapshot import FileEntry, Snapshot
from catalog.vector_column import vector_blocks

#: Rows of a partition that are held at a time: all of an average one.
BLOCK_ROWS = 32_768
_BLOCK_BYTES = 64 << 20

ITEM_COLUMNS = ("item_id", "product_id", "image_uri", "metadata")


def row_offsets(snapshot: Snapshot) -> np.ndarray:
    """int64 [partitions + 1]: the first row number of each partition, and the number of rows."""
    counts = np.zeros(snapshot.partitions + 1, np.int64)
    for entry in snapshot.files:
        counts[entry.partition + 1] += entry.live_rows
    return np.cumsum(counts)


def partition_tables(store: str, snapshot: Snapshot, partition: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The live rows of a partition in row order, `item_id` and `columns`, in tables of at most 32,768 rows. Metadata is
    brought to the one type that holds that of all of the partition's files; what only some of them have is null in the
    others, and what none of them has is left out."""
    wanted = ["item_id", *(column for column in columns if column != "item_id")]
    entries = snapshot.files_of(partition)
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(contextlib.closing(EmbeddingFile(storage.join(store, each.path)))) for each in entries
        ]
        schema = _common(wanted, [file.schema for file in files])
        streams = [
            IdStream(_live_tables(entry, file, schema), schema) for entry, file in zip(entries, files, strict=True)
        ]
        for parts in slices(streams, max(1, BLOCK_ROWS // max(1, len(streams))), _BLOCK_BYTES):
            # A file is sorted, by code points, which is the order of the UTF-8 bytes too.
            yield parts[0] if len(parts) == 1 else pa.concat_tables(parts).sort_by("item_id").combine_chunks()


def _common(wanted: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns that any of the files has, with types that hold what is in all of them."""
    fields = []
    for name in wanted:
        found = [schema.field(name) for schema in schemas if name in schema.names]
        if name == "metadata" and found:
            fields.append(pa.field(name, unify([field.type for field in found])))
        elif found:
            fields.append(found[0].with_nullable(found[0].nullable or len(found) < len(schemas)))
    return pa.schema(fields)


def _live_tables(entry: FileEntry, file: EmbeddingFile, schema: pa.Schema) -> Iterator[pa.Table]:
    for group in range(len(file.starts) - 1):
        table = file.read(group, schema.names)
        if "metadata" in schema.names:
            table = _with_metadata(table, schema.field("metadata").type)
        table = completed(table, schema)
        yield table.filter(pa.array(_live(table["item_id"], entry))) if entry.removed else table


def _with_metadata(table: pa.Table, target: pa.DataType) -> pa.Table:
    if "metadata" not in table.column_names:
        return table.append_column("metadata", pa.nulls(len(table), target))
    place = table.column_names.index("metadata")
    return table.set_column(place, "metadata", cast(table["metadata"], target))


def partition_ids(store: str, snapshot: Snapshot, partition: int) -> list[str]:
    """The item ids of a partition, in row order."""
    tables = partition_tables(store, snapshot, partition, ())
    return [item_id for table in tables for item_id in table["item_id"].to_pylist()]


def partition_vectors(store: str, snapshot: Snapshot, partition: int) -> Iterator[np.ndarray]:
    """The stored vectors of a partition in row order, in blocks [n, d] of 32,768 rows, the last one of what is left."""
    files = rows_of_files(store, snapshot, partition, 0)
    sources = [_Live(file_blocks(store, snapshot, entry), numbers) for entry, numbers in files]
    rows = sum(entry.live_rows for entry, _ in files)
    for start in range(0, rows, BLOCK_ROWS):
        parts = [source.below(start + BLOCK_ROWS) for source in sources]
        parts = [part for part in parts if len(part[0])]
        if len(parts) == 1:
            yield parts[0][1]
        else:
            order = np.argsort(np.concatenate([numbers for numbers, _ in parts]))
            yield np.concatenate([vectors for _, vectors in parts])[order]
    for source in sources:
        source.finish()


class _Live:
    """The live rows of a file, in order.

    Args:
        blocks: its vectors.
        numbers: int64 [rows] of each of its rows, -1 where it was removed.
    """

    def __init__(self, blocks: Iterator[np.ndarray], numbers: np.ndarray) -> None:
        self._blocks = blocks
        self._numbers = numbers
        self._highest = np.maximum.accumulate(numbers)
        self._block = np.empty((0, 0), np.float32)
        self._first = 0  # Row of the block's first.
        self._next = 0

    def below(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """The next rows with numbers below `end`: int64 [n] their numbers, and [n, d] their vectors."""
        stop, found = int(np.searchsorted(self._highest, end)), []
        first = self._next
        while self._next < stop:
            if self._next == self._first + len(self._block):
                self._first, self._block = self._next, next(self._blocks)
            piece = self._block[self._next - self._first : stop - self._first]
            found.append(piece)
            self._next += len(piece)
        numbers = self._numbers[first:stop]
        if not found:
            return numbers, self._block[:0]
        vectors, live = found[0] if len(found) == 1 else np.concatenate(found), numbers >= 0
        return numbers[live], vectors if live.all() else vectors[live]

    def finish(self) -> None:
        """Reads what is left, of which nothing counts, so that all of a file is looked at."""
        for _ in self._blocks:
            pass


def file_blocks(store: str, snapshot: Snapshot, entry: FileEntry) -> Iterator[np.ndarray]:
    """The stored vectors of a file, [n, d] at a time. Raises IntegrityError where they are not as many as the snapshot
    says, as soon as that shows."""
    url, rows = storage.join(store, entry.path), 0
    for block in vector_blocks(url, snapshot.encoder.dimension):
        rows += len(block)
        if rows > entry.rows:
            break
        yield block
    if rows != entry.rows:
        raise damaged(url, f"it has {rows:,} rows where snapshot {snapshot.sequence} says {entry.rows:,}")


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
