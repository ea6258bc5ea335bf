"""The rows of a partition on their way from readers to the worker that encodes them: sorted files in a run's folder.

An engine may hand over all values of a key at once, in memory. So readers cut a partition into chunks of bounded size,
each chunk is sorted and stored, and what comes together by partition are the names of these files.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from catalog import storage
from catalog.errors import ConflictError, IntegrityError
from catalog.metadata import comparable
from catalog.sealed import seal, unseal
from catalog.sorted_files import in_order, read_sorted, write_sorted

_TIMES_THE_MEAN = 4
_FEWEST = 4
_FEWEST_OF_ALL_READERS = 4_096
# A column of text holds no more than 2 GiB.
_MOST_BYTES = 512 << 20
_JOINED_BLOCKS = 1_000
_SEALED = "sealed"


def rows_a_chunk(rows: int, partitions: int, readers: int) -> int:
    """How many rows of one partition a reader puts into one chunk.

    Args:
        rows: that the reader reads.
        partitions: of the store.
        readers: that read at once; all of them add to a chunk.

    Of a catalog that is not skewed nearly every row is in chunk 0. However rows are distributed, a chunk has at most
    four times the rows of an average partition, and beside them 4,096, or 4 a reader.
    """
    return max(_FEWEST, _FEWEST_OF_ALL_READERS // max(1, readers), _TIMES_THE_MEAN * -(-rows // partitions))


class Chunks:
    """Deals what a reader reads to chunks of at most `most` rows of a partition."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._dealt: dict[int, int] = {}

    def deal(self, partition: int, rows: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The chunks that further rows of a partition go to, with the rows of each."""
        start = 0
        while start < len(rows):
            chunk, held = divmod(self._dealt.get(partition, 0), self._most)
            part = rows.slice(start, self._most - held)
            self._dealt[partition] = chunk * self._most + held + len(part)
            start += len(part)
            yield chunk, part


def content_keys(rows: pa.Table) -> list[tuple[str, str, str, str, int]]:
    """What orders the rows of one id: all that they say, and of equal rows the first. Signatures of locations do not
    count."""
    uris = [storage.redact(uri) if uri else "" for uri in rows["image_uri"].to_pylist()]
    products = [str(product) for product in rows["product_id"].to_pylist()]
    metadata = [
        str(each) for each in comparable(rows["metadata"] if "metadata" in rows.column_names else None, len(rows))
    ]
    places = [origin.rpartition(" ") for origin in rows["origin"].to_pylist()]
    return [
        (uri, product, text, file, int(number))
        for uri, product, text, (file, _, number) in zip(uris, products, metadata, places, strict=True)
    ]


def store_rows(folder: str, blocks: Iterable[pa.RecordBatch], key: bytes) -> Iterator[str]:
    """Stores the rows of a chunk below `folder`, sorted, as one file, or several where they are very large. Yields the
    names; the same rows have the same one.

    Args:
        folder: where to.
        blocks: of `catalog.rows.row_schema`.
        key: that seals locations with something in them that could be a secret.
    """
    joined: list[pa.RecordBatch] = []
    held = 0
    for block in _joined(blocks):
        if joined and held + block.nbytes > _MOST_BYTES:
            yield _store(folder, pa.Table.from_batches(joined), key)
            joined, held = [], 0
        joined.append(block)
        held += block.nbytes
    if joined:
        yield _store(folder, pa.Table.from_batches(joined), key)


def _joined(blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer blocks: a partition of a large catalog comes in blocks of a row or two, each of which
    takes kilobytes beside its rows."""
    remaining = iter(blocks)
    while several := list(islice(remaining, _JOINED_BLOCKS)):
        yield pa.concat_batches(several)


def _store(folder: str, rows: pa.Table, key: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        path = Path(scratch) / "rows"
        stored = _sealed(in_order(rows, content_keys), key)
        write_sorted(path, [stored], stored.schema)
        name = f"{_digest(path)}.arrow"
        try:
            storage.put_file(path, storage.join(folder, name))
        except FileNotFoundError as error:
            raise _gone(folder, error) from None
    return name


def _sealed(rows: pa.Table, key: bytes) -> pa.Table:
    """Rows whose locations have no secrets in them, and a column `sealed` of those that had."""
    uris, origins = rows["image_uri"].to_pylist(), rows["origin"].to_pylist()
    shown = [storage.redact(uri) if uri else uri for uri in uris]
    sealed = [
        None if uri == plain else seal(uri, origin, key)
        for uri, plain, origin in zip(uris, shown, origins, strict=True)
    ]
    place = rows.column_names.index("image_uri")
    return rows.set_column(place, "image_uri", pa.array(shown, pa.string())).append_column(
        _SEALED, pa.array(sealed, pa.binary())
    )


def _unsealed(rows: pa.Table, key: bytes) -> pa.Table:
    sealed, plain = rows[_SEALED], rows.drop_columns([_SEALED])
    if sealed.null_count == len(rows):
        return plain
    columns = (sealed.to_pylist(), rows["image_uri"].to_pylist(), rows["origin"].to_pylist())
    uris = [uri if data is None else unseal(data, origin, key) for data, uri, origin in zip(*columns, strict=True)]
    return plain.set_column(plain.column_names.index("image_uri"), "image_uri", pa.array(uris, pa.string()))


def read_rows(folder: str, names: Iterable[str], scratch: Path, key: bytes) -> Iterator[pa.Table]:
    """The rows of stored files as one sequence of small tables, sorted by id and content key.

    Args:
        folder: of the files.
        names: which, from `store_rows`.
        scratch: a folder for copies of files that are elsewhere.
        key: with which they were stored.

    Raises:
        ConflictError: the files are gone, for the run has finished.
        IntegrityError: a file is not what was stored.
    """
    try:
        paths = [_local(storage.join(folder, name), scratch) for name in sorted(names)]
        for rows in read_sorted(paths, scratch, content_keys):
            yield _unsealed(rows, key)
    except FileNotFoundError as error:
        raise _gone(folder, error) from None


def _gone(folder: str, error: FileNotFoundError) -> ConflictError:
    return ConflictError(
        f"rows of a partition are gone from {folder} ({error}), as when the same command ran twice at once; run it "
        "again to see the outcome"
    )


def _local(url: str, scratch: Path) -> Path:
    path = scratch / storage.name_of(url)
    if path.exists():
        return path
    path = storage.local_copy(url, scratch)
    if storage.name_of(url) != f"{_digest(path)}.arrow":
        raise IntegrityError(f"{url} is damaged: its bytes are not those that its name says; run again")
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
