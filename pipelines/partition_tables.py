"""The rows of a partition's new file as Arrow tables: from images that were encoded, and from rows that are copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import metadata, storage
from catalog.embedding_file import read_file, vector_array
from catalog.partition_rows import PartitionRows
from catalog.snapshot import FileEntry
from encoders.image_loader import LoadedImage

_FOLDED_ROWS_AT_ONCE = 4_096
#: What is new for a row: its encoded image; or, for a row that is copied, the image's new version or None for the old.
New = LoadedImage | str | None


class PartitionTables:
    """Tables of the schema of a partition's embedding files, made of its clean rows and its stored files."""

    def __init__(
        self, store: str, files: Sequence[FileEntry], rows: PartitionRows, schema: pa.Schema, vector_type: str
    ) -> None:
        self._store = store
        self._files = files
        self._rows = rows
        self._schema = schema
        self._vector_type = vector_type
        self._stored: dict[int, pa.Table] = {}

    def merged(self, chunk: Sequence[tuple[int, New]]) -> pa.Table:
        """One table of rows (by number) with what is new for each, in the order given."""
        encoded = [(row, what) for row, what in chunk if isinstance(what, LoadedImage)]
        copied = [(row, what) for row, what in chunk if not isinstance(what, LoadedImage)]
        tables = []
        if encoded:
            tables.append(self._encoded([row for row, _ in encoded], [image for _, image in encoded]))
        if copied:
            tables.append(self._copied([row for row, _ in copied], [version for _, version in copied]))
        table = pa.concat_tables(tables)
        return table.sort_by("item_id") if len(tables) > 1 else table

    def fold(self, kept: Sequence[int], stale: Sequence[int], delta: Path) -> Iterator[pa.Table]:
        """All rows of the partition in order: those that are kept and say what the catalog says, those that are kept as
        they were, and those of the local file `delta`. Holds the partition in memory."""
        tables = [pq.read_table(delta).cast(self._schema)]
        if kept:
            tables.append(self._copied(kept, [None] * len(kept)))
        tables += [self._as_it_was(row) for row in stale]
        table = pa.concat_tables(tables).sort_by("item_id")
        for start in range(0, len(table), _FOLDED_ROWS_AT_ONCE):
            yield table.slice(start, _FOLDED_ROWS_AT_ONCE)

    def _encoded(self, numbers: Sequence[int], images: Sequence[LoadedImage]) -> pa.Table:
        vectors = np.stack([image.vector for image in images if image.vector is not None])
        columns = {
            "embedding": vector_array(vectors, self._vector_type),
            "content_hash": pa.array([image.content_hash for image in images], pa.binary(32)),
            "phash": pa.array([image.phash for image in images], pa.uint64()),
            "thumbnail": pa.array([image.thumbnail for image in images], pa.binary(192)),
            "width": pa.array([image.width for image in images], pa.int32()),
            "height": pa.array([image.height for image in images], pa.int32()),
            "source_version": pa.array([image.source_version for image in images], pa.string()),
        }
        return self._of_catalog(numbers, columns)

    def _copied(self, numbers: Sequence[int], versions: Sequence[str | None]) -> pa.Table:
        """Stored rows with what the catalog says of them now."""
        places = [item for item in map(self._rows.stored, numbers) if item is not None]
        by_file: dict[int, list[int]] = {}
        for position, place in enumerate(places):
            by_file.setdefault(place.file, []).append(position)
        order = np.empty(len(places), np.int64)
        pieces, taken = [], 0
        names = ("embedding", "content_hash", "phash", "thumbnail", "width", "height")
        for file, positions in by_file.items():
            table = self._stored_table(file).select(names)
            pieces.append(table.take(pa.array([places[position].row for position in positions], pa.int64())))
            order[positions] = np.arange(taken, taken + len(positions))
            taken += len(positions)
        stored = pa.concat_tables(pieces).take(pa.array(order))
        told = [version or place.source_version for version, place in zip(versions, places, strict=True)]
        columns = {name: stored[name] for name in names}
        return self._of_catalog(numbers, {**columns, "source_version": pa.array(told, pa.string())})

    def _as_it_was(self, number: int) -> pa.Table:
        """One stored row, its metadata brought to the type that it has now."""
        item = self._rows.stored(number)
        assert item is not None
        row = self._stored_table(item.file).slice(item.row, 1)
        if "metadata" in self._schema.names:
            target = self._schema.field("metadata").type
            there = "metadata" in row.column_names
            values = metadata.cast(row["metadata"], target) if there else pa.nulls(1, target)
            row = (row.drop_columns(["metadata"]) if there else row).append_column("metadata", values)
        return row.select(self._schema.names).cast(self._schema)

    def _of_catalog(self, numbers: Sequence[int], columns: dict[str, pa.Array]) -> pa.Table:
        """`columns` beside what the catalog says of the rows. Of locations, what could be a secret is not stored."""
        part = self._rows.table.take(pa.array(numbers, pa.int64()))
        said = {name: part[name] for name in ("item_id", "product_id", "metadata") if name in self._schema.names}
        uris = pa.array([storage.redact(self._rows.uris[row]) for row in numbers], pa.string())
        return pa.table({**columns, **said, "image_uri": uris}).select(self._schema.names).cast(self._schema)

    def _stored_table(self, file: int) -> pa.Table:
        if file not in self._stored:
            self._stored[file] = read_file(storage.join(self._store, self._files[file].path))
        return self._stored[file]
