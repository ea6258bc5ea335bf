"""Embedding files: immutable Parquet, named by content, rows sorted by `item_id`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.errors import IntegrityError, UsageError

SCHEMA_VERSION = 1
#: Columns of pictures that files have not had from the beginning: absent from files of before, null in rows that were
#: copied from one. `completed` brings all to one shape.
LATER = (pa.field("pixel_hash", pa.binary(16)), pa.field("phash_256", pa.binary(32)), pa.field("bytes", pa.int64()))
_ROW_GROUP_ROWS = 4_096  # 10 MB of 1280-d float16: small enough to buffer, large enough to scan.


def schema(dimension: int, vector_type: str, metadata: pa.Schema, pictures: bool = True) -> pa.Schema:
    """The Arrow schema of an embedding file; docs/formats.md says what each column holds. Vectors that were imported
    have no `pictures`, and their files none of the columns that tell of one."""
    value = pa.float16() if vector_type == "float16" else pa.float32()
    fields = [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("product_id", pa.string()),
        pa.field("embedding", pa.list_(pa.field("element", value, nullable=False), dimension), nullable=False),
    ]
    if pictures:
        fields += [
            pa.field("content_hash", pa.binary(32), nullable=False),
            pa.field("phash", pa.uint64(), nullable=False),
            pa.field("thumbnail", pa.binary(192), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("image_uri", pa.string(), nullable=False),
            pa.field("source_version", pa.string(), nullable=False),
            *LATER,
        ]
    if len(metadata):
        fields.append(pa.field("metadata", pa.struct(list(metadata))))
    return pa.schema(fields)


def completed(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Rows of an embedding file with the columns of `wanted`, in its order and types; one that may be null and that the
    file does not have is null."""
    for field in wanted:
        if field.nullable and field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    return rows.select(wanted.names).cast(wanted)


def vector_array(vectors: np.ndarray, vector_type: str) -> pa.FixedSizeListArray:
    """[n, d] floats as the `embedding` column of a file."""
    dtype = np.float16 if vector_type == "float16" else np.float32
    flat = pa.array(np.ascontiguousarray(vectors, dtype).reshape(-1))
    field = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(field, vectors.shape[1]))


def vectors_of(column: pa.ChunkedArray | pa.Array, dimension: int) -> np.ndarray:
    """The `embedding` column as [n, d] in its stored dtype; a view where Arrow holds it in one piece."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray) or len(array) == 0:
        return np.empty((0, dimension), np.float32)
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)


@dataclass(frozen=True)
class WrittenFile:
    """A finished embedding file: where it is below the store, and what it holds."""

    path: str
    sha256: str
    bytes: int
    rows: int


class EmbeddingFileWriter:
    """Writes one embedding file to a local scratch path, then stores it under the hash of its bytes.

    Rows must be appended in `item_id` order. At most a row group is held in memory.
    """

    def __init__(self, scratch: Path, file_schema: pa.Schema, fingerprint: str) -> None:
        note = {"catalog_indexer.schema_version": str(SCHEMA_VERSION), "catalog_indexer.fingerprint": fingerprint}
        self._scratch = scratch
        self._schema = file_schema.with_metadata(note)
        texts = [field.name for field in file_schema if pa.types.is_string(field.type) and field.name != "item_id"]
        leaves = _leaves(file_schema)
        self._writer = pq.ParquetWriter(
            scratch,
            self._schema,
            # Vectors do not compress and have no useful dictionary; text does and has.
            compression={leaf: "none" if leaf.startswith("embedding.") else "zstd" for leaf in leaves},
            use_dictionary=[leaf for leaf in leaves if leaf in texts or leaf.startswith("metadata.")],
            write_statistics=["item_id"],
            write_page_checksum=True,
        )
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self.rows = 0

    def append(self, rows: pa.Table) -> None:
        """Adds rows with the columns of the schema, in any column order; what may be null may be left out. Secrets stay
        out of `image_uri`."""
        if "image_uri" in rows.column_names:
            shown = pa.array([storage.redact(uri) for uri in rows["image_uri"].to_pylist()], pa.string())
            rows = rows.set_column(rows.column_names.index("image_uri"), "image_uri", shown)
        self._pending.append(completed(rows, self._schema))
        self._pending_rows += len(rows)
        self.rows += len(rows)
        while self._pending_rows >= _ROW_GROUP_ROWS:
            self._flush(_ROW_GROUP_ROWS)

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._pending)
        self._writer.write_table(table.slice(0, rows), row_group_size=_ROW_GROUP_ROWS)
        self._pending = [table.slice(rows)]
        self._pending_rows = len(table) - rows

    def finish(self) -> Path:
        """Closes the local file and returns its path."""
        if self._pending_rows:
            self._flush(self._pending_rows)
        self._writer.close()
        return self._scratch

    def name(self, folder: str) -> WrittenFile:
        """Finishes the file and says what it will be in `folder`, by the hash of its bytes."""
        self.finish()
        digest, size = hashlib.sha256(), 0
        with self._scratch.open("rb") as file:
            while chunk := file.read(8 << 20):
                digest.update(chunk)
                size += len(chunk)
        return WrittenFile(f"{folder}/{digest.hexdigest()[:32]}.parquet", digest.hexdigest(), size, self.rows)

    def store(self, root: str, folder: str) -> WrittenFile:
        """Finishes the file and stores it at `root`/`folder`/<content hash>.parquet; writing it twice is harmless."""
        file = self.name(folder)
        self.put(root, file)
        return file

    def put(self, root: str, file: WrittenFile) -> None:
        """Stores the finished file, as `name` called it, below `root`."""
        storage.put_file(self._scratch, storage.join(root, file.path))


def _leaves(file_schema: pa.Schema) -> list[str]:
    """The paths by which Parquet knows the columns, those inside structs and lists included."""
    sink = pa.BufferOutputStream()
    pq.write_table(file_schema.empty_table(), sink)
    parquet = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [parquet.column(number).path for number in range(len(parquet))]


def read_file(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of an embedding file; a column that the file does not have (no metadata) is left out.

    Raises:
        IntegrityError: the file is missing or is not what was written; every page that is read is checked.
    """
    with opened(url) as (file, _):
        present = file.schema_arrow.names
        wanted = present if columns is None else [name for name in columns if name in present]
        return file.read(columns=wanted)


def file_schema(url: str) -> pa.Schema:
    """The Arrow schema of an embedding file, from its footer. Raises IntegrityError."""
    with opened(url) as (file, _):
        return file.schema_arrow


@contextlib.contextmanager
def opened(url: str) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
    """An embedding file, as Arrow sees it and as bytes. What Arrow finds wrong with it becomes IntegrityError."""
    with _explained(url), storage.open_read(url) as handle:
        yield _parquet(url, handle), handle


class EmbeddingFile:
    """An embedding file that stays open, read a row group at a time. Close it.

    Raises:
        IntegrityError: here and when it is read, as `read_file` does.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        with _explained(url):
            self._handle = storage.open_read(url)
            try:
                self._file = _parquet(url, self._handle)
            except BaseException:
                self._handle.close()
                raise
        groups = self._file.metadata
        rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        self.schema: pa.Schema = self._file.schema_arrow.remove_metadata()
        self.starts = np.cumsum([0, *rows])  # int64 [row groups + 1]: their first rows, and the number of rows.

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Columns of a row group; one that the file does not have is left out."""
        with _explained(self._url):
            return self._file.read_row_group(group, [name for name in columns if name in self.schema.names])

    def close(self) -> None:
        self._handle.close()


def _parquet(url: str, handle: BinaryIO) -> pq.ParquetFile:
    file = pq.ParquetFile(handle, page_checksum_verification=True)
    version = (file.schema_arrow.metadata or {}).get(b"catalog_indexer.schema_version")
    if version != str(SCHEMA_VERSION).encode():
        raise UsageError(f"{url} has schema version {version!r}; this version reads {SCHEMA_VERSION}")
    return file


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """What goes wrong with a file inside is said of it."""
    try:
        yield
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; restore it, or embed into a new store") from None
    except (storage.TransientError, TimeoutError, PermissionError):
        raise  # The store's trouble, not the file's.
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as error:
        raise damaged(url, error) from None


def damaged(url: str, why: object) -> IntegrityError:
    """An embedding file is not what was written."""
    return IntegrityError(f"{url} is damaged: {why}; restore it, or embed into a new store")
