"""Reads the tables a catalog comes in - CSV, TSV (gzip too), Parquet - as blocks of rows, in bounded memory.

Rows are numbered as a spreadsheet shows them: the header is row 1, the first item row 2; Parquet has no header, its
first row is row 1. Not for: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from catalog import storage
from catalog.errors import UsageError

_BLOCK_BYTES = 16 << 20  # One CSV row must fit in a block; long descriptions do, many times over.
_BLOCK_ROWS = 65_536
_PARQUET_ENDINGS = (".parquet", ".pq")
_TEXT_ENDINGS = (".csv", ".tsv", ".tab", ".txt")


@dataclass(frozen=True)
class UnparsedRow:
    """A row that is not a row of its table."""

    row: int
    detail: str


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one file: `rows[i]` is the row number of `table[i]`. CSV columns are all text."""

    table: pa.Table
    rows: np.ndarray
    unparsed: list[UnparsedRow] = field(default_factory=list)


def is_parquet(url: str) -> bool:
    """Whether the name says Parquet; everything else is read as delimited text."""
    return url.lower().endswith(_PARQUET_ENDINGS)


def check_readable(url: str) -> None:
    """Raises UsageError when the name is of no kind that can be read."""
    name = url.lower().removesuffix(".gz")
    if not name.endswith(_TEXT_ENDINGS + _PARQUET_ENDINGS):
        raise UsageError(f"{storage.redact(url)} is no catalog file: expected .csv, .tsv, .csv.gz, .tsv.gz or .parquet")


def column_names(url: str) -> list[str]:
    """The names of the columns, in file order. Raises UsageError for an empty, broken or repeated header."""
    names = _open_parquet(url).schema_arrow.names if is_parquet(url) else _CsvFile(url).names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"{storage.redact(url)} has the column {repeated[0]!r} twice; column names must differ")
    return list(names)


def read_blocks(url: str) -> Iterator[Block]:
    """Yields the file's rows in order. Raises UsageError when the file as a whole cannot be read."""
    if is_parquet(url):
        yield from _read_parquet(url)
    else:
        yield from _CsvFile(url).blocks()


def parquet_schema(url: str) -> pa.Schema:
    """The Arrow schema of a Parquet file, dictionary-encoded columns as their values."""
    schema = _open_parquet(url).schema_arrow
    return pa.schema(
        [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema], schema.metadata
    )


def parquet_rows(url: str) -> int:
    """Rows of a Parquet file, from its footer."""
    return int(_open_parquet(url).metadata.num_rows)


def _open_parquet(url: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(storage.open_read(url))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{storage.redact(url)} is not a readable Parquet file: {error}") from None


def _read_parquet(url: str) -> Iterator[Block]:
    schema = parquet_schema(url)
    first = 1
    for batch in _open_parquet(url).iter_batches(batch_size=_BLOCK_ROWS):
        yield Block(pa.Table.from_batches([batch]).cast(schema), np.arange(first, first + batch.num_rows))
        first += batch.num_rows


class _CsvFile:
    """One delimited text file, every column read as text."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unparsed: list[UnparsedRow] = []
        self._delimiter, self.names = self._header()

    def _header(self) -> tuple[str, list[str]]:
        stream = _text_stream(self._url)
        try:
            line = stream.read(1 << 20).splitlines()[:1]
        except OSError as error:
            raise UsageError(f"{storage.redact(self._url)} cannot be read: {error}") from None
        if not line or not line[0].strip():
            raise UsageError(f"{storage.redact(self._url)} is empty; expected a header row with column names")
        tabs = self._url.lower().removesuffix(".gz").endswith((".tsv", ".tab")) or (
            b"\t" in line[0] and b"," not in line[0]
        )
        self._delimiter = "\t" if tabs else ","
        try:
            return self._delimiter, list(self._reader({}).schema.names)
        except pa.ArrowInvalid as error:
            raise UsageError(f"{storage.redact(self._url)} is not readable as a table: {error}") from None

    def _reader(self, types: dict[str, pa.DataType]) -> pa.csv.CSVStreamingReader:
        return pa.csv.open_csv(
            _text_stream(self._url),
            # One thread, so that rows that do not parse come with their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=self._note_unparsed
            ),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )

    def _note_unparsed(self, row: Any) -> str:
        self._unparsed.append(
            UnparsedRow(row.number, f"has {row.actual_columns} columns, expected {row.expected_columns}")
        )
        return "skip"

    def blocks(self) -> Iterator[Block]:
        self._unparsed = []
        taken, number = 0, 2
        try:
            for batch in self._reader({name: pa.string() for name in self.names}):
                unparsed = {bad.row for bad in self._unparsed}
                rows = np.empty(batch.num_rows, np.int64)
                for i in range(batch.num_rows):
                    while number in unparsed:
                        number += 1
                    rows[i] = number
                    number += 1
                fresh, taken = self._unparsed[taken:], len(self._unparsed)
                yield Block(pa.Table.from_batches([batch]), rows, fresh)
        except pa.ArrowInvalid as error:
            raise UsageError(self._explain(error, number)) from None
        if fresh := self._unparsed[taken:]:
            nothing = pa.table({name: pa.array([], pa.string()) for name in self.names})
            yield Block(nothing, np.empty(0, np.int64), fresh)

    def _explain(self, error: Exception, row: int) -> str:
        place = f"{storage.redact(self._url)}, at or after row {row},"
        if "UTF8" in str(error):
            return f"{place} is not UTF-8 text; convert it first, for example: iconv -f latin1 -t utf-8"
        return f"{place} is not readable as a table: {error}"


def _text_stream(url: str) -> Any:
    stream = pa.PythonFile(storage.open_read(url), "r")
    return pa.CompressedInputStream(stream, "gzip") if url.lower().endswith(".gz") else stream
