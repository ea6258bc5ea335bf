"""Bucketed files: the rows of a table cut into numbered buckets, of which a later stage reads one at a time.

Every unit of a stage writes one such file; a unit of the next reads its bucket out of all of them, a few small ranges
of each.

A file is, with little-endian numbers of 64 bits, `CIBKT001`, the buckets, the bytes of the schema, and a checksum of
these and of the schema; then the schema, an Arrow message; then [buckets + 1, 2] where each bucket begins and a
checksum of where it begins and ends and of its bytes; then the buckets, each some Arrow record batches of that schema,
compressed with zstd, or nothing where it has no rows. A checksum is two CRC-32, the first in the higher half: a place
is checked before what is there is read.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from catalog import storage
from catalog.errors import IntegrityError

_MAGIC = b"CIBKT001"
_FIELDS = struct.Struct("<8sQQ")
_CHECK = struct.Struct("<Q")
_HEADER_BYTES = _FIELDS.size + _CHECK.size
_WORD = np.dtype("<u8")
_ENTRY_BYTES = 16
_SPAN = struct.Struct("<QQ")
# What is read of a file first: the header, the schema and, of a small file, all of it.
_FIRST_BYTES = 4_096
# A read of a bucket is mostly waiting, and there are as many as files.
_READERS = 16
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def write_buckets(url: str, table: pa.Table, bucket: np.ndarray, buckets: int) -> None:
    """Stores the rows of a table by bucket, in the order that they have in the table. The same rows are the same bytes.

    Args:
        url: where to; what is there is replaced.
        table: the rows; without dictionary columns.
        bucket: int [n], of each row, 0 to `buckets` - 1. Raises ValueError where one is not.
        buckets: how many there are.
    """
    if len(bucket) != len(table):
        raise ValueError(f"{len(bucket)} bucket numbers for {len(table)} rows")
    if len(bucket) and (int(bucket.min()) < 0 or int(bucket.max()) >= buckets):
        raise ValueError(f"bucket numbers run from {bucket.min()} to {bucket.max()} and there are {buckets} buckets")
    plain = table.schema.remove_metadata()
    rows = table.replace_schema_metadata().take(pa.array(np.argsort(bucket, kind="stable")))
    begins = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=buckets))]).tolist()
    schema = _stream(plain, [])
    offset = _HEADER_BYTES + len(schema) + _ENTRY_BYTES * (buckets + 1)
    index = np.zeros((buckets + 1, 2), _WORD)
    fields = _FIELDS.pack(_MAGIC, buckets, len(schema))
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / "buckets"
        with path.open("wb") as file:
            file.write(fields + _CHECK.pack(_checksum(fields, schema)) + schema)
            file.write(index.data)
            for each in range(buckets):
                size = begins[each + 1] - begins[each]
                batches = rows.slice(begins[each], size).combine_chunks().to_batches() if size else []
                data = _stream(plain, batches)[len(schema) :] if size else b""
                index[each] = offset, _checksum(_SPAN.pack(offset, offset + len(data)), data)
                file.write(data)
                offset += len(data)
            index[buckets, 0] = offset
            file.seek(_HEADER_BYTES + len(schema))
            file.write(index.data)
        storage.put_file(path, url)


def read_bucket(urls: Sequence[str], bucket: int) -> pa.Table:
    """The rows of one bucket out of many files of one schema: file by file in the order of `urls`, and of each file in
    the order in which they were written.

    Args:
        urls: of at least one file that `write_buckets` wrote.
        bucket: its number.

    Raises:
        IntegrityError: a file is damaged; it is named.
        FileNotFoundError: there is no such file.
    """
    if not urls:
        raise ValueError("a bucket is read from one file or more, and there is none")
    with ThreadPoolExecutor(min(_READERS, len(urls))) as pool:
        tables = list(pool.map(lambda url: _File(url).read(bucket), urls))
    return pa.concat_tables(tables)


def _stream(schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    """An Arrow stream without its end mark."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()[: -len(_END_OF_STREAM)]


def _checksum(place: bytes, data: bytes) -> int:
    return isal_zlib.crc32(place) << 32 | isal_zlib.crc32(data)


class _File:
    """A stored file; its first bytes are read once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._first = storage.read_range(url, 0, _FIRST_BYTES)
        if len(self._first) < _HEADER_BYTES or self._first[: len(_MAGIC)] != _MAGIC:
            raise self._damaged("it is not a bucketed file")
        fields = self._first[: _FIELDS.size]
        _, self._buckets, size = _FIELDS.unpack(fields)
        (check,) = _CHECK.unpack(self._first[_FIELDS.size : _HEADER_BYTES])
        if check >> 32 != isal_zlib.crc32(fields):
            raise self._damaged("its header does not match its checksum")
        self._schema = self._piece(_HEADER_BYTES, size)
        if check != _checksum(fields, self._schema):
            raise self._damaged("its schema does not match its checksum")

    def read(self, bucket: int) -> pa.Table:
        if not 0 <= bucket < self._buckets:
            raise ValueError(f"{self._url} has {self._buckets} buckets, and none of the number {bucket}")
        at = _HEADER_BYTES + len(self._schema) + _ENTRY_BYTES * bucket
        entries = np.frombuffer(self._piece(at, 2 * _ENTRY_BYTES), _WORD)
        begin, check, end = int(entries[0]), int(entries[1]), int(entries[2])
        place = _SPAN.pack(begin, end)
        if check >> 32 != isal_zlib.crc32(place):
            raise self._damaged(f"the place of bucket {bucket} does not match its checksum")
        data = self._piece(begin, end - begin)
        if check != _checksum(place, data):
            raise self._damaged(f"bucket {bucket} does not match its checksum")
        return pa.ipc.open_stream(self._schema + data + _END_OF_STREAM).read_all()

    def _piece(self, start: int, size: int) -> bytes:
        if start + size <= len(self._first):
            return self._first[start : start + size]
        data = storage.read_range(self._url, start, size)
        if len(data) != size:
            raise self._damaged("it ends too early")
        return data

    def _damaged(self, why: str) -> IntegrityError:
        return IntegrityError(f"{storage.redact(self._url)} is damaged: {why}; delete it and run again")
