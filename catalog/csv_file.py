"""One delimited text file as blocks of rows, every column as text; rows that do not parse are named by number."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from catalog import storage
from catalog.blocks import Block, UnparsedRow
from catalog.errors import UsageError

_BLOCK_BYTES = 16 << 20  # One row must fit in a block; long descriptions do, many times over.
_HEADER_BYTES = 1 << 20


class CsvFile:
    """One delimited text file, every column read as text."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unparsed: list[UnparsedRow] = []
        self._only_header = False
        self._delimiter, self.names = self._header()

    def _header(self) -> tuple[str, list[str]]:
        try:
            beginning = _text_stream(self._url).read(_HEADER_BYTES)
            text = beginning.decode("utf-8-sig", errors="strict" if len(beginning) < _HEADER_BYTES else "ignore")
        except OSError as error:
            raise UsageError(f"{storage.redact(self._url)} cannot be read: {error}") from None
        except UnicodeDecodeError as error:
            raise UsageError(self._not_utf8(beginning[: error.start].count(b"\n") + 1)) from None
        text = text.lstrip("\r\n")
        if not text.strip():
            raise UsageError(f"{storage.redact(self._url)} is empty; expected a header row with column names")
        delimiter = _delimiter_of(self._url, re.split(r"[\r\n]", text, maxsplit=1)[0])
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            names = next(records)
        except csv.Error as error:
            raise UsageError(f"{storage.redact(self._url)} has a header that is none: {error}") from None
        with contextlib.suppress(csv.Error):  # A first row that Python's reader does not take is a row all the same.
            self._only_header = len(beginning) < _HEADER_BYTES and not any(records)
        return delimiter, names

    def blocks(self) -> Iterator[Block]:
        """The rows in order. Raises UsageError, at the latest when the last block was read."""
        if self._only_header:
            return
        self._unparsed = []
        taken, number, broken_lines = 0, 2, False
        try:
            for batch in self._reader():
                rows = self._row_numbers(batch.num_rows, number)
                number = int(rows[-1]) + 1 if len(rows) else number
                fresh, taken = self._unparsed[taken:], len(self._unparsed)
                broken_lines = broken_lines or any(
                    pc.any(pc.match_substring(column, "\n")).as_py() for column in batch.columns
                )
                yield Block(pa.Table.from_batches([batch]), rows, fresh)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UsageError(self._explain(error, number)) from None
        if fresh := self._unparsed[taken:]:
            nothing = pa.table({name: pa.array([], pa.string()) for name in self.names})
            yield Block(nothing, np.empty(0, np.int64), fresh)
        if broken_lines:
            self._check_quotes()

    def _reader(self) -> pa.csv.CSVStreamingReader:
        return pa.csv.open_csv(
            _text_stream(self._url),
            # One thread, so that rows that do not parse come with their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=self._note_unparsed
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in self.names}, strings_can_be_null=False
            ),
        )

    def _note_unparsed(self, row: Any) -> str:
        self._unparsed.append(
            UnparsedRow(row.number, f"has {row.actual_columns} columns, expected {row.expected_columns}")
        )
        return "skip"

    def _row_numbers(self, count: int, first: int) -> np.ndarray:
        """int64 [count]: the numbers from `first` on that no unparsed row has."""
        unparsed = [bad.row for bad in self._unparsed if bad.row >= first]
        candidates = np.arange(first, first + count + len(unparsed))
        return candidates[~np.isin(candidates, unparsed)][:count]

    def _check_quotes(self) -> None:
        """Reads the file once more, strictly. A quote that is never closed makes one cell of all the rows after it, up
        to the next quote or the end, and no reader can tell that from a long text except by what follows the quote."""
        number = 1
        text = io.TextIOWrapper(io.BufferedReader(_RawStream(_text_stream(self._url))), "utf-8-sig", newline="")
        limit = csv.field_size_limit(_BLOCK_BYTES)
        try:
            for row in csv.reader(text, delimiter=self._delimiter, strict=True):
                number += bool(row)
        except csv.Error as error:
            raise UsageError(
                f"{storage.redact(self._url)}, row {number}: a quote is not closed, or text follows a closing quote "
                f"({error}); rows would be lost in it"
            ) from None
        finally:
            csv.field_size_limit(limit)

    def _not_utf8(self, row: int) -> str:
        return (
            f"{storage.redact(self._url)}, at or after row {row}, is not UTF-8 text; convert it first, for example: "
            "iconv -f latin1 -t utf-8"
        )

    def _explain(self, error: Exception, row: int) -> str:
        if "UTF8" in str(error) or isinstance(error, UnicodeDecodeError):
            return self._not_utf8(row)
        return f"{storage.redact(self._url)}, at or after row {row}, is not readable as a table: {error}"


class _RawStream(io.RawIOBase):
    """An Arrow stream as Python's own kind, which `io.TextIOWrapper` needs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _delimiter_of(url: str, header: str) -> str:
    """A tab by the file's name; otherwise comma, tab or semicolon, the one that the header has most of."""
    if url.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    return max((",", "\t", ";"), key=outside_quotes.count)


def _text_stream(url: str) -> Any:
    stream = pa.PythonFile(storage.open_read(url), "r")
    return pa.CompressedInputStream(stream, "gzip") if url.lower().endswith(".gz") else stream
