"""The rows of a partition's new file as Arrow tables: from images that were encoded, and from rows that are copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from catalog import metadata, storage
from catalog.embedding_file import LATER, completed, vector_array
from catalog.partition_rows import PartitionRows
from catalog.stored_rows import StoredItem, StoredRows
from encoders.image_loader import LoadedImage

#: What is new for a row: its encoded image; or, for a row that is copied, the image's new version or None for the old.
New = LoadedImage | str | None
_COPIED = ("embedding", "content_hash", "phash", "thumbnail", "width", "height", *(field.name for field in LATER))


class PartitionTables:
    """Tables of the schema of a partition's embedding files, made of some of its clean rows and its stored files."""

    def __init__(self, stored: StoredRows, rows: PartitionRows, schema: pa.Schema, vector_type: str) -> None:
        self._stored = stored
        self._rows = rows
        self._schema = schema
        self._vector_type = vector_type

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

    def folded(self, kept: Sequence[int], stale: Sequence[int], fresh: pa.Table) -> pa.Table:
        """One table, in order: rows that are kept and say what the catalog says, rows that are kept as they were, and
        `fresh`, rows of the new file."""
        tables = [fresh.cast(self._schema)]
        if kept:
            tables.append(self._copied(kept, [None] * len(kept)))
        tables += self._as_they_were(stale)
        return pa.concat_tables(tables).sort_by("item_id")

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
            "pixel_hash": pa.array([image.pixel_hash for image in images], pa.binary(16)),
            "phash_256": pa.array([image.phash_256 for image in images], pa.binary(32)),
            "bytes": pa.array([image.file_bytes for image in images], pa.int64()),
        }
        return self._of_catalog(numbers, columns)

    def _copied(self, numbers: Sequence[int], versions: Sequence[str | None]) -> pa.Table:
        """Stored rows with what the catalog says of them now."""
        places = [item for item in map(self._rows.stored, numbers) if item is not None]
        wanted = pa.schema([self._schema.field(name) for name in _COPIED])
        order = np.empty(len(places), np.int64)
        pieces, taken = [], 0
        for file, positions in _by_file(places).items():
            pieces.append(completed(self._stored.take(file, _rows_of(places, positions), _COPIED), wanted))
            order[positions] = np.arange(taken, taken + len(positions))
            taken += len(positions)
        stored = pa.concat_tables(pieces).take(pa.array(order))
        told = [version or place.source_version for version, place in zip(versions, places, strict=True)]
        columns = {name: stored[name] for name in _COPIED}
        return self._of_catalog(numbers, {**columns, "source_version": pa.array(told, pa.string())})

    def _as_they_were(self, numbers: Sequence[int]) -> Iterator[pa.Table]:
        """Stored rows, by file, with the columns and types that files have now."""
        places = [item for item in map(self._rows.stored, numbers) if item is not None]
        for file, positions in _by_file(places).items():
            rows = self._stored.take(file, _rows_of(places, positions), self._schema.names)
            if "metadata" in rows.column_names:
                values = metadata.cast(rows["metadata"], self._schema.field("metadata").type)
                rows = rows.drop_columns(["metadata"]).append_column("metadata", values)
            yield completed(rows, self._schema)

    def _of_catalog(self, numbers: Sequence[int], columns: dict[str, pa.Array]) -> pa.Table:
        """`columns` beside what the catalog says of the rows. Of locations, what could be a secret is not stored."""
        part = self._rows.table.take(pa.array(numbers, pa.int64()))
        said = {name: part[name] for name in ("item_id", "product_id", "metadata") if name in self._schema.names}
        uris = pa.array([storage.redact(self._rows.uris[row]) for row in numbers], pa.string())
        return pa.table({**columns, **said, "image_uri": uris}).select(self._schema.names).cast(self._schema)


def _by_file(places: Sequence[StoredItem]) -> dict[int, list[int]]:
    """Positions in `places` by file."""
    found: dict[int, list[int]] = {}
    for position, place in enumerate(places):
        found.setdefault(place.file, []).append(position)
    return found


def _rows_of(places: Sequence[StoredItem], positions: Sequence[int]) -> np.ndarray:
    return np.array([places[position].row for position in positions], np.int64)
