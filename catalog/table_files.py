"""Reads the tables a catalog comes in - CSV, TSV, JSON Lines (gzip too), Parquet - as blocks, in bounded memory.

Rows are numbered as a spreadsheet shows them: the header is row 1, the first item row 2; blank lines are not counted.
Parquet and JSON Lines have no header, their first row is row 1. Not for: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.blocks import Block
from catalog.csv_file import CsvFile
from catalog.errors import UsageError
from catalog.json_lines import read_json_lines

_BLOCK_ROWS = 65_536
_PARQUET_ENDINGS = (".parquet", ".pq")
_TEXT_ENDINGS = (".csv", ".tsv", ".tab", ".txt")
_JSON_ENDINGS = (".jsonl", ".ndjson")


def is_parquet(url: str) -> bool:
    """Whether the name says Parquet."""
    return url.lower().endswith(_PARQUET_ENDINGS)


def is_json_lines(url: str) -> bool:
    """Whether the name says JSON Lines; what is neither that nor Parquet is read as delimited text."""
    return url.lower().removesuffix(".gz").endswith(_JSON_ENDINGS)


def check_readable(url: str) -> None:
    """Raises UsageError when the name is of no kind that can be read."""
    name = url.lower()
    if not name.endswith(_PARQUET_ENDINGS) and not name.removesuffix(".gz").endswith(_TEXT_ENDINGS + _JSON_ENDINGS):
        raise UsageError(
            f"{storage.redact(url)} is no catalog file: expected .csv, .tsv, .jsonl, .ndjson (each also with .gz) or "
            ".parquet"
        )


def column_names(url: str) -> list[str]:
    """The columns of a CSV or Parquet file, in order. Raises UsageError for an empty, broken or repeated header."""
    names = _open_parquet(url).schema_arrow.names if is_parquet(url) else CsvFile(url).names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"{storage.redact(url)} has the column {repeated[0]!r} twice; column names must differ")
    return list(names)


def read_blocks(url: str, columns: Sequence[str] = ()) -> Iterator[Block]:
    """Yields the file's rows in order. Raises UsageError when the file as a whole cannot be read.

    `columns` are those of a JSON Lines file, whose beginning does not say them; other files name their own.
    """
    if is_parquet(url):
        yield from _read_parquet(url)
    elif is_json_lines(url):
        yield from read_json_lines(url, columns)
    else:
        yield from CsvFile(url).blocks()


def parquet_schema(url: str) -> pa.Schema:
    """The Arrow schema of a Parquet file, dictionary-encoded columns as their values."""
    schema = _open_parquet(url).schema_arrow
    carried = pa.schema([field.with_type(carried_type(field.type)) for field in schema])
    try:
        schema.remove_metadata().empty_table().cast(carried)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise UsageError(f"{storage.redact(url)} has a column whose type cannot be carried: {error}") from None
    return carried


def carried_type(type_: pa.DataType) -> pa.DataType:
    """What a Parquet column becomes: dictionaries their values, nanoseconds, which Python has not, microseconds."""
    if pa.types.is_dictionary(type_):
        return carried_type(type_.value_type)
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if pa.types.is_list(type_):
        return pa.list_(carried_type(type_.value_type))
    return type_


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
        yield Block(pa.Table.from_batches([batch]).cast(schema, safe=False), np.arange(first, first + batch.num_rows))
        first += batch.num_rows
