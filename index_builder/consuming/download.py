"""Downloads: ranges of all files in one window, written and hashed in order, and gone on with where they were killed.

A file gets its name when its last byte is there and its sha256 is right; until then it is NAME.part.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from catalog import storage
from catalog.errors import IntegrityError
from catalog.manifest import ManifestFile
from index_builder.consuming.hashing import hash_file
from index_builder.publishing.verify import check_file, missing

# Bytes of one request, and requests under way: their product is what a download holds in memory.
CHUNK = 8 << 20
IN_FLIGHT = 8


@dataclass(frozen=True)
class Wanted:
    """A file to download: from where, to where, and what it must be."""

    url: str
    path: Path
    entry: ManifestFile

    @property
    def part(self) -> Path:
        """Where the bytes are until all of them are there."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def there(self) -> int:
        """Bytes that an earlier download left."""
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0
        return size if size <= self.entry.bytes else 0


def bytes_to_come(files: Sequence[Wanted]) -> int:
    """What `download` would write."""
    return sum(each.entry.bytes - each.there for each in files)


def download(files: Sequence[Wanted], version: str) -> None:
    """Downloads files, each of which appears when it is whole.

    Args:
        files: to download.
        version: that they belong to, for messages.

    Raises:
        IntegrityError: a file in the store is missing, or is not what was published.
        OSError: the store or the disk failed. What is downloaded stays for the next try, unless the disk is full.
    """
    try:
        again = _download(files, version)
        if again:  # What an earlier try had left of them was no good; now there is nothing left.
            _download(again, version)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            for each in files:
                each.part.unlink(missing_ok=True)
        raise


def _download(files: Sequence[Wanted], version: str) -> list[Wanted]:
    """Returns the files that went on from bytes that were no good."""
    again = []
    with contextlib.closing(_Chunks(files, version).read()) as chunks:
        for wanted in files:
            begin = wanted.there
            wanted.path.parent.mkdir(parents=True, exist_ok=True)
            digest, size = hash_file(wanted.part, most=begin) if begin else (hashlib.sha256(), 0)
            with wanted.part.open("r+b" if begin else "wb", buffering=0) as file:
                file.seek(begin)
                for chunk in _of(wanted, begin, chunks):
                    digest.update(chunk)
                    size += len(chunk)
                    _write(file.fileno(), chunk)
                os.fsync(file.fileno())
            try:
                check_file(storage.redact(wanted.url), wanted.entry, digest.hexdigest(), size)
            except IntegrityError:
                wanted.part.unlink()
                if not begin:
                    raise
                again.append(wanted)
            else:
                wanted.part.replace(wanted.path)
    return again


def _of(wanted: Wanted, begin: int, chunks: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    """The chunks of one file."""
    for start in _starts(wanted, begin):
        found, chunk = next(chunks)
        assert found == start
        yield chunk


def _starts(wanted: Wanted, begin: int) -> range:
    # One at least, also of a file of which all bytes are there: it asks whether the object ends where it should.
    return range(begin, max(wanted.entry.bytes, begin + 1), CHUNK)


def _write(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class _Chunks:
    """The chunks of all files, in order, some of them under way."""

    def __init__(self, files: Sequence[Wanted], version: str) -> None:
        self._wanted = [(each, start) for each in files for start in _starts(each, each.there)]
        self._version = version

    def read(self) -> Generator[tuple[int, bytes], None, None]:
        """Where each chunk begins in its file, and its bytes."""
        under_way: deque[tuple[int, Future[bytes]]] = deque()
        with ThreadPoolExecutor(IN_FLIGHT, "download") as pool:
            try:
                for each, start in self._wanted:
                    under_way.append((start, pool.submit(self._read, each, start)))
                    if len(under_way) >= IN_FLIGHT:
                        first, chunk = under_way.popleft()
                        yield first, chunk.result()
                for first, chunk in under_way:
                    yield first, chunk.result()
            finally:
                for _, chunk in under_way:
                    chunk.cancel()

    def _read(self, wanted: Wanted, start: int) -> bytes:
        left = wanted.entry.bytes - start
        try:
            # The last one asks for a byte more, which must not be there.
            return storage.read_range(wanted.url, start, left + 1 if left <= CHUNK else CHUNK)
        except FileNotFoundError:
            raise missing(storage.redact(wanted.url), self._version) from None
