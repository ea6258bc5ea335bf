"""One delimited text file as blocks of rows, every column as text; rows that do not parse are named by number."""

from __future__ import annotations

import codecs
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
from catalog.text_stream import cannot_be_read, check_beginning, is_unicode, not_utf8, open_bytes, open_text

# A row must fit in a block, and Arrow reads 32 blocks ahead. Files with longer rows are read in the larger blocks.
_BLOCK_BYTES = (2 << 20, 16 << 20)
_LONGEST_ROW = _BLOCK_BYTES[-1]
csv.field_size_limit(_LONGEST_ROW)  # Of the process: set once, as several files may be read at once.
_HEADER_BYTES = 1 << 20


class CsvFile:
    """One delimited text file, every column read as text."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unparsed: list[UnparsedRow] = []
        self._only_header = False
        self.delimiter, self.names = self._header()

    def _header(self) -> tuple[str, list[str]]:
        try:
            beginning = open_bytes(self._url).read(_HEADER_BYTES)
        except OSError as error:
            raise cannot_be_read(self._url, error) from None
        check_beginning(self._url, beginning)
        whole = len(beginning) < _HEADER_BYTES
        text = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode(beginning, final=whole)
        text = text.lstrip("\r\n")
        if not text.strip():
            raise UsageError(f"{storage.redact(self._url)} is empty; expected a header row with column names")
        delimiter = _delimiter_of(self._url, re.split(r"[\r\n]", text, maxsplit=1)[0])
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            names = next(records)
        except csv.Error as error:
            raise UsageError(f"{storage.redact(self._url)} has a header that is none: {error}") from None
        if not all(map(is_unicode, names)):
            raise not_utf8(self._url, "row 1")
        with contextlib.suppress(csv.Error):  # A first row that Python's reader does not take is a row all the same.
            self._only_header = whole and not any(records)
        return delimiter, names

    def blocks(self) -> Iterator[Block]:
        """The rows in order. Raises UsageError, at the latest when the last block was read."""
        if self._only_header:
            return
        self._unparsed = []
        taken, number, broken_lines = 0, 2, False
        try:
            for batch in self._batches():
                rows = self._row_numbers(batch.num_rows, number)
                number = int(rows[-1]) + 1 if len(rows) else number
                fresh, taken = self._unparsed[taken:], len(self._unparsed)
                broken_lines = broken_lines or any(
                    pc.any(pc.match_substring(column, "\n")).as_py() for column in batch.columns
                )
                yield Block(pa.Table.from_batches([batch]), rows, fresh)
        except pa.ArrowInvalid as error:
            raise self._explain(error, number) from None
        except OSError as error:
            raise cannot_be_read(self._url, error) from None
        if fresh := self._unparsed[taken:]:
            nothing = pa.table({name: pa.array([], pa.string()) for name in self.names})
            yield Block(nothing, np.empty(0, np.int64), fresh)
        if broken_lines:
            self._check_quotes()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that parse, in order; where a row does not fit in a block, the file is read again in larger ones."""
        done = 0
        for block_bytes in _BLOCK_BYTES:
            seen = 0
            try:
                for batch in self._reader(block_bytes):
                    fresh = batch.slice(min(max(0, done - seen), batch.num_rows))
                    seen += batch.num_rows
                    done = max(done, seen)
                    if fresh.num_rows:
                        yield fresh
            except pa.ArrowInvalid as error:
                if block_bytes == _LONGEST_ROW or not _is_too_long(error):
                    raise
            else:
                return

    def _reader(self, block_bytes: int) -> pa.csv.CSVStreamingReader:
        return pa.csv.open_csv(
            open_bytes(self._url),
            # One thread, so that rows that do not parse come with their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=block_bytes),
            parse_options=pa.csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=self._note_unparsed
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in self.names}, strings_can_be_null=False
            ),
        )

    def _note_unparsed(self, row: Any) -> str:
        if not self._unparsed or row.number > self._unparsed[-1].row:  # Not again when the file is read again.
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
        try:
            for row in self._records(strict=True):
                number += bool(row)
        except csv.Error as error:
            raise UsageError(
                f"{storage.redact(self._url)}, row {number}: a quote is not closed, or text follows a closing quote "
                f"({error}); rows would be lost in it"
            ) from None

    def _records(self, strict: bool) -> Iterator[list[str]]:
        """The rows as Python's own reader sees them, header and blank lines too. Raises csv.Error."""
        yield from csv.reader(open_text(self._url), delimiter=self.delimiter, strict=strict)

    def _row_that_is_not_utf8(self) -> int | None:
        """The first row with bytes that are not UTF-8, as far as Python's reader comes."""
        number = 0
        with contextlib.suppress(csv.Error, OSError):
            for record in self._records(strict=False):
                number += bool(record)
                if not all(map(is_unicode, record)):
                    return number
        return None

    def _explain(self, error: Exception, row: int) -> UsageError:
        where = f"{storage.redact(self._url)}, at or after row {row}"
        if _is_too_long(error):
            return UsageError(f"{where}: a row is longer than {_LONGEST_ROW >> 20} MiB; is a quote not closed there?")
        if found := self._row_that_is_not_utf8():  # A broken row with such bytes is another error to Arrow.
            return not_utf8(self._url, f"row {found}")
        if "UTF8" in str(error):
            return not_utf8(self._url, f"at or after row {row}")
        return UsageError(f"{where}, is not readable as a table: {error}")


def _is_too_long(error: Exception) -> bool:
    """Whether Arrow says that a row, or the header, does not fit in a block."""
    return "straddling" in str(error) or "block size" in str(error)


def _delimiter_of(url: str, header: str) -> str:
    """A tab by the file's name; otherwise comma, tab or semicolon, the one that the header has most of."""
    if url.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    return max((",", "\t", ";"), key=outside_quotes.count)
