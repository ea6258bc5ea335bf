"""The rows of a text file as the bytes that they are, so that those that stay can be copied as they were.

Rows are cut where the readers of catalogs see them end: at a line end, and in CSV not at one inside quotes, which a
cell begins with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog import storage
from catalog.errors import UsageError
from catalog.text_stream import cannot_be_read, open_bytes

_CHUNK_BYTES = 1 << 20
_LONGEST_ROW = 32 << 20  # Twice what a reader of catalogs takes.
_MARK = b"\xef\xbb\xbf"


def raw_csv_rows(url: str, delimiter: str) -> Iterator[bytes]:
    """Every row of a delimited file with its line end, the header first; blank lines too. Raises UsageError."""
    plain = b"[^" + re.escape(delimiter.encode()) + rb"\r\n]*+"
    cell = rb'(?:"(?:[^"]++|"")*+"' + plain + rb'|(?!")' + plain + rb")"
    row = cell + rb"(?:" + re.escape(delimiter.encode()) + cell + rb")*+"
    # A carriage return at the end of what was read may be half of a line end.
    more, last = re.compile(row + rb"(?:\r\n|\n|\r(?=[^\n]))"), re.compile(row + rb"(?:\r\n|\n|\r|\Z)")
    yield from _cut(url, more, last)


def raw_lines(url: str) -> Iterator[bytes]:
    """Every line with its line end; blank ones too. Raises UsageError."""
    yield from _cut(url, re.compile(rb"[^\n]*+\n"), re.compile(rb"[^\n]++\n?|\n"))


def is_blank(row: bytes, delimited: bool) -> bool:
    """Whether no reader counts the row: nothing but a line end, or in a file of lines white space."""
    return not row.removeprefix(_MARK).strip(b"\r\n" if delimited else None)


def _cut(url: str, more: re.Pattern[bytes], last: re.Pattern[bytes]) -> Iterator[bytes]:
    rest, number = b"", 0
    try:
        stream = open_bytes(url)
        while chunk := stream.read(_CHUNK_BYTES):
            rest += chunk
            place = 0
            if not number and len(rest) > len(_MARK):
                # The mark is no part of the first cell, which may begin with a quote.
                place = len(_MARK) if rest.startswith(_MARK) else 0
            begin = 0
            while found := more.match(rest, place):
                number += 1
                yield rest[begin : found.end()]
                begin = place = found.end()
            rest = rest[begin:]
            if len(rest) > _LONGEST_ROW:
                raise UsageError(
                    f"{storage.redact(url)}, row {number + 1}: it is longer than {_LONGEST_ROW >> 20} MiB; is a quote "
                    "not closed there?"
                )
    except OSError as error:
        raise cannot_be_read(url, error) from None
    place = len(_MARK) if not number and rest.startswith(_MARK) else 0
    begin = 0
    while begin < len(rest):
        found = last.match(rest, place)
        # A quote that is not closed: all of it is one row.
        end = found.end() if found and found.end() > begin else len(rest)
        yield rest[begin:end]
        begin = place = end
