"""A text file of item ids, one a line, read in step with the rows that they name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from catalog import storage
from catalog.columns import as_text
from catalog.errors import UsageError
from catalog.text_stream import cannot_be_read, check_beginning, not_utf8, open_bytes

_CHUNK = 1 << 20
_LONGEST = 1 << 20  # bytes of a line: no id, but a file of another kind
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class IdList:
    """A file of ids, UTF-8, plain or `.gz`; white space around an id does not count, an empty line is an empty id."""

    url: str
    rows: int


def look_at_ids(url: str) -> IdList:
    """Counts the lines. Raises UsageError when the file is no UTF-8 text."""
    return IdList(url, sum(len(lines) for lines in _lines(url)))


class IdReader:
    """The ids of a list, so many at a time."""

    def __init__(self, ids: IdList) -> None:
        self._lines = _lines(ids.url)
        self._waiting: list[str] = []

    def take(self, count: int) -> pa.Array:
        """The next `count` ids, fewer only at the end."""
        while len(self._waiting) < count and (more := next(self._lines, None)) is not None:
            self._waiting += more
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return as_text(pa.array(taken, pa.string()))


def _lines(url: str) -> Iterator[list[str]]:
    """The lines of a file, some at a time; the last one may end without a line end."""
    rest, number, begun = b"", 0, False
    for data in _chunks(url):
        if not begun:
            check_beginning(url, data)
            data, begun = data.removeprefix(_MARK), True
        *lines, rest = (rest + data).split(b"\n")
        yield _decoded(url, lines, number)
        number += len(lines)
        if len(rest) > _LONGEST:
            raise UsageError(f"{storage.redact(url)}: line {number + 1} is longer than 1 MiB; expected one id a line")
    if rest:
        yield _decoded(url, [rest], number)


def _chunks(url: str) -> Iterator[bytes]:
    try:
        stream = open_bytes(url)
        while data := stream.read(_CHUNK):
            yield data
    except (storage.TransientError, TimeoutError, PermissionError, FileNotFoundError):
        raise
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise cannot_be_read(url, error) from None


def _decoded(url: str, lines: list[bytes], before: int) -> list[str]:
    try:
        return [line.decode() for line in lines]
    except UnicodeDecodeError:
        wrong = next(number for number, line in enumerate(lines) if not _is_utf8(line))
        raise not_utf8(url, f"line {before + wrong + 1}") from None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
