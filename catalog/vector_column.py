"""The vectors of an embedding file as an array, read about as fast as its bytes.

The pages of the column as `EmbeddingFileWriter` writes it are levels, which say where lists begin and that nothing is
missing, and then the values as they are in memory. So the values are read straight to their place, and the levels are
compared with those of lists of one length instead of being decoded one by one: pages of one size have the same bytes of
levels, which are decoded once. Before anything of a page counts, its header must agree with the footer, its checksum
with all of its bytes, and every list must begin where it should. A file that is laid out in another way, which
other writers are free to do, is read by Arrow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from catalog import storage
from catalog.embedding_file import damaged, opened, read_file, vectors_of
from catalog.parquet_page import DATA_PAGE, DATA_PAGE_V2, PLAIN, RLE, PageHeader, levels_are_regular, parse_header

# What Parquet calls the values of each type.
_STORED: dict[np.dtype, tuple[str, str]] = {
    np.dtype(np.float16): ("FIXED_LEN_BYTE_ARRAY", "FLOAT16"),
    np.dtype(np.float32): ("FLOAT", "NONE"),
}
_HEADER_BYTES = 256  # Ours take about 30; statistics would come on top.


def read_vectors(url: str, dimension: int, out: np.ndarray | None = None) -> np.ndarray:
    """The vectors of an embedding file, in row order, as [n, d] in their stored dtype, float16 or float32.

    Args:
        url: the file.
        dimension: d.
        out: C-contiguous [n or more, d] of the stored dtype to read into; the result is its first n rows. Memory that
            was used before is faster than new memory.

    Raises:
        IntegrityError: the file is missing or is not what was written; every page is checked.
        ValueError: `out` does not fit.
    """
    with opened(url) as (file, handle):
        dtype, rows = _stored_dtype(url, file, dimension), file.metadata.num_rows
        pages = _Pages.of(url, handle, file, dimension, dtype)
        if pages is not None:
            vectors = _destination(out, rows, dimension, dtype)
            if all(pages.read(chunk, vectors[chunk.first : chunk.last]) for chunk in pages.chunks):
                return vectors
    found = _through_arrow(url, dimension, rows, dtype)
    if out is None:
        return found
    vectors = _destination(out, rows, dimension, dtype)
    vectors[:] = found
    return vectors


def vector_blocks(url: str, dimension: int) -> Iterator[np.ndarray]:
    """The vectors of an embedding file as `read_vectors` gives them, a row group [n, d] at a time.

    Raises:
        IntegrityError: as `read_vectors` does.
    """
    with opened(url) as (file, handle):
        dtype = _stored_dtype(url, file, dimension)
        pages = _Pages.of(url, handle, file, dimension, dtype)
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        groups = [number for number, rows in enumerate(sizes) if rows]
        for place, group in enumerate(groups):
            vectors = np.empty((sizes[group], dimension), dtype)
            if pages is None or not pages.read(pages.chunks[place], vectors):
                column = file.read_row_group(group, ["embedding"])["embedding"]
                vectors = _whole(url, column, dimension, sizes[group], dtype)
            yield vectors


def read_vector_rows(url: str, dimension: int, rows: np.ndarray) -> np.ndarray:
    """The vectors of some rows, [len(rows), d] in their stored dtype; only the pages that hold them are checked.

    On a local disk nothing but those pages is read, in other stores the row groups that they are in.

    Args:
        url: the file.
        dimension: d.
        rows: ascending row positions in the file; int.

    Raises:
        IntegrityError: the file is missing, or a page that is needed is not what was written.
        ValueError: a row is not in the file, or they are not ascending.
    """
    rows = np.asarray(rows, np.int64)
    with opened(url) as (file, handle):
        dtype, total = _stored_dtype(url, file, dimension), file.metadata.num_rows
        if len(rows) and not (rows[0] >= 0 and rows[-1] < total and (np.diff(rows) >= 0).all()):
            raise ValueError(f"rows of {url} must ascend from 0 to {total - 1}")
        found = np.empty((len(rows), dimension), dtype)
        pages = _Pages.of(url, handle, file, dimension, dtype)
        if pages is not None and pages.read_rows(rows, found):
            return found
    return _through_arrow(url, dimension, total, dtype)[rows]


def _stored_dtype(url: str, file: pq.ParquetFile, dimension: int) -> np.dtype:
    schema = file.schema_arrow
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    if kind is not None and pa.types.is_fixed_size_list(kind) and kind.list_size == dimension:
        for dtype in _STORED:
            if kind.value_type == pa.from_numpy_dtype(dtype):
                return dtype
    raise damaged(url, f"its embedding column is {kind}, not {dimension} float16 or float32 values a row")


def _destination(out: np.ndarray | None, rows: int, dimension: int, dtype: np.dtype) -> np.ndarray:
    if out is None:
        return np.empty((rows, dimension), dtype)
    if out.dtype != dtype or out.ndim != 2 or out.shape[1] != dimension or len(out) < rows or not out.flags.carray:
        raise ValueError(f"out is {out.dtype} {list(out.shape)}, but {dtype} [{rows} or more, {dimension}] is read")
    return out[:rows]


def _through_arrow(url: str, dimension: int, rows: int, dtype: np.dtype) -> np.ndarray:
    return _whole(url, read_file(url, ["embedding"])["embedding"], dimension, rows, dtype)


def _whole(url: str, column: pa.ChunkedArray, dimension: int, rows: int, dtype: np.dtype) -> np.ndarray:
    # Arrow skips pages of kinds that it does not know, and `vectors_of` skips missing rows.
    if len(column) != rows or column.null_count or any(chunk.flatten().null_count for chunk in column.chunks):
        raise damaged(url, "vectors are missing in its embedding column")
    return vectors_of(column, dimension).astype(dtype, copy=False)


@dataclass(frozen=True)
class _Chunk:
    """The vectors of rows `first` to `last` of a file, and the bytes that their pages take."""

    first: int
    last: int
    start: int
    end: int


class _Source(Protocol):
    """Where pages are read from."""

    def load(self, chunk: _Chunk) -> None:
        """Before anything of a chunk is read."""

    def read(self, position: int, *buffers: memoryview) -> None:
        """Fills the buffers one after the other from a position in the chunk. Raises EOFError."""


class _LocalFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def load(self, chunk: _Chunk) -> None:
        pass

    def read(self, position: int, *buffers: memoryview) -> None:
        if os.preadv(self._descriptor, buffers, position) == sum(map(len, buffers)):
            return
        for buffer in buffers:  # A signal or a network disk may cut a read short.
            done = 0
            while done < len(buffer):
                if not (count := os.preadv(self._descriptor, [buffer[done:]], position + done)):
                    raise EOFError
                done += count
            position += len(buffer)


class _ObjectFile:
    """A file of another store: the bytes of a chunk are read at once."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._start = 0
        self._bytes = memoryview(b"")

    def load(self, chunk: _Chunk) -> None:
        self._handle.seek(chunk.start)
        self._start, self._bytes = chunk.start, memoryview(self._handle.read(chunk.end - chunk.start))

    def read(self, position: int, *buffers: memoryview) -> None:
        at = position - self._start
        for buffer in buffers:
            if at + len(buffer) > len(self._bytes):
                raise EOFError
            buffer[:] = self._bytes[at : at + len(buffer)]
            at += len(buffer)


class _Pages:
    """The pages of the `embedding` column of one open file."""

    def __init__(self, url: str, source: _Source, chunks: list[_Chunk], dimension: int, dtype: np.dtype) -> None:
        self._url = url
        self._source = source
        self._dimension = dimension
        self._dtype = dtype
        self._levels = memoryview(bytearray())
        self.chunks = chunks

    @classmethod
    def of(cls, url: str, handle: BinaryIO, file: pq.ParquetFile, dimension: int, dtype: np.dtype) -> _Pages | None:
        """None where the footer says that the column is laid out in another way."""
        leaves = [file.schema.column(number) for number in range(len(file.schema))]
        numbers = [number for number, leaf in enumerate(leaves) if leaf.path.split(".")[0] == "embedding"]
        if len(numbers) != 1:
            return None
        leaf = leaves[numbers[0]]
        # One level of each kind: of the list itself, which can be empty or absent in no other way.
        if leaf.max_definition_level != 1 or leaf.max_repetition_level != 1:
            return None
        if (leaf.physical_type, leaf.logical_type.type) != _STORED[dtype]:
            return None
        chunks, first, size = [], 0, handle.seek(0, os.SEEK_END)
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            column, rows = group.column(numbers[0]), group.num_rows
            if rows == 0:
                continue
            if column.compression != "UNCOMPRESSED" or column.has_dictionary_page or column.file_path:
                return None
            if not {"PLAIN"} <= set(column.encodings) <= {"PLAIN", "RLE"}:
                return None
            start, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
            if column.num_values != rows * dimension:
                raise damaged(url, f"row group {number} has not {dimension} values a row")
            if not 0 < start < start + rows * dimension * dtype.itemsize < end < size:
                raise damaged(url, f"the bytes of row group {number} are not where its vectors can be")
            chunks.append(_Chunk(first, first + rows, start, end))
            first += rows
        if first != file.metadata.num_rows:
            raise damaged(url, "its row groups have not as many rows as the file")
        source = _LocalFile(handle.fileno()) if storage.scheme_of(url) == "file" else _ObjectFile(handle)
        return cls(url, source, chunks, dimension, dtype)

    def read_rows(self, rows: np.ndarray, found: np.ndarray) -> bool:
        """Fills `found`, [len(rows), d], with the given rows; False where Arrow must do it."""
        for chunk in self.chunks:
            lowest, highest = np.searchsorted(rows, [chunk.first, chunk.last])
            if lowest == highest:
                continue
            within = rows[lowest:highest] - chunk.first
            vectors = np.empty((chunk.last - chunk.first, self._dimension), self._dtype)
            if not self.read(chunk, vectors, within):
                return False
            found[lowest:highest] = vectors[within]
        return True

    def read(self, chunk: _Chunk, vectors: np.ndarray, wanted: np.ndarray | None = None) -> bool:
        """Reads the pages of a chunk into `vectors`, [its rows, d]; only those with `wanted` rows, where given.

        Returns:
            False where a page is of another kind than ours, and Arrow must read the file.
        """
        target = vectors.reshape(-1).view(np.uint8).data
        width, total, done = self._dtype.itemsize, vectors.size, 0
        begun = memoryview(bytearray(_HEADER_BYTES))
        at = chunk.start
        try:
            self._source.load(chunk)
            header = begun[: min(_HEADER_BYTES, chunk.end - at)]
            self._source.read(at, header)
            while done < total:
                page = parse_header(bytes(header))
                at += page.size
                if page.kind == DATA_PAGE_V2 or page.crc is None:
                    return False
                self._check(page, chunk.end - at, total - done)
                header = begun[: min(_HEADER_BYTES, chunk.end - at - page.body)]
                if wanted is None or self._holds(done, done + page.values, wanted):
                    values = target[done * width : (done + page.values) * width]
                    levels = self._room(page.body - len(values))
                    # What follows is most likely the next header.
                    self._source.read(at, levels, values, header)
                    if isal_zlib.crc32(values, isal_zlib.crc32(levels)) != page.crc:
                        raise ValueError(f"the checksum of the page at byte {at} does not match")
                    if not levels_are_regular(bytes(levels), page.values, done % self._dimension, self._dimension):
                        raise ValueError(f"the page at byte {at} has lists of other lengths")
                else:
                    self._source.read(at + page.body, header)
                done += page.values
                at += page.body
            if at != chunk.end:
                raise ValueError(f"its embedding column does not end at byte {at}")
        except EOFError:
            raise damaged(self._url, "it ends in the middle of its vectors") from None
        except ValueError as error:
            raise damaged(self._url, str(error)) from None
        return True

    def _check(self, page: PageHeader, bytes_left: int, values_left: int) -> None:
        """The footer has promised all of this."""
        if page.kind != DATA_PAGE or page.encodings != (PLAIN, RLE, RLE):
            raise ValueError(f"a page of kind {page.kind} and encodings {page.encodings} is not in its footer")
        if not (page.body == page.unpacked <= bytes_left and 0 < page.values <= values_left):
            raise ValueError("the sizes in a page header are not those in its footer")
        if page.body < page.values * self._dtype.itemsize:
            raise ValueError(f"a page of {page.body} bytes cannot hold {page.values} values")

    def _holds(self, first: int, last: int, wanted: np.ndarray) -> bool:
        """Whether values `first` to `last` have part in one of the rows."""
        lowest, highest = np.searchsorted(wanted, [first // self._dimension, (last - 1) // self._dimension + 1])
        return bool(lowest < highest)

    def _room(self, size: int) -> memoryview:
        if len(self._levels) < size:
            self._levels = memoryview(bytearray(size))
        return self._levels[:size]
