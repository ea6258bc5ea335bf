"""Parquet files with a column of vectors, as blocks of rows: the vector, and the columns beside it by their role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog import storage
from catalog.columns import as_text, first_known
from catalog.errors import UsageError
from catalog.metadata import cast_number
from catalog.table_files import carried_type
from catalog.vector_files import MOST_DIMENSIONS, VectorBlock, rows_at_once

_VECTOR_NAMES = ("embedding", "embeddings", "vector", "vectors", "features")
_ITEM_ID_NAMES = ("item_id", "id")
_PRODUCT_ID_NAMES = ("product_id",)
# A column without a single value is of no type.
_IDS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
# The first rows are looked at for the length of a list.
_LOOK_ROWS = 256


@dataclass(frozen=True)
class TableFile:
    """A Parquet file of vectors.

    Attributes:
        url: the file.
        rows, dimension: of it; the dimension is None where no row has a vector.
        kind: for people: what a value is.
        vector: its column of vectors.
        item_id, product_id: the columns with these roles; None where there is none.
        metadata: the columns carried through, with their types.
        left_out: the columns that are not: lists, structs, bytes.
    """

    url: str
    rows: int
    dimension: int | None
    kind: str
    vector: str
    item_id: str | None
    product_id: str | None
    metadata: pa.Schema
    left_out: tuple[str, ...]

    def blocks(self, with_ids: bool, metadata: pa.Schema) -> Iterator[VectorBlock]:
        """The rows in order, a few MB of vectors at a time.

        Args:
            with_ids: whether `item_id` is read.
            metadata: the fields of all files; those that this one lacks are null.

        Raises:
            UsageError: a row has another dimension, or the file is damaged.
        """
        item_id = self.item_id if with_ids else None
        carried = [field for field in metadata if field.name in self.metadata.names]
        named = [item_id, self.product_id, *(field.name for field in carried)]
        columns = [self.vector, *(name for name in named if name is not None)]
        dimension, first = self.dimension, 0
        assert dimension is not None
        for batch in _batches(self.url, columns, rows_at_once(dimension)):
            vectors, missing = _vectors(batch.column(self.vector), dimension, self.url, first)
            yield VectorBlock(
                first,
                vectors,
                missing,
                pc.fill_null(_text(batch.column(item_id)), "") if item_id else None,
                _text(batch.column(self.product_id)) if self.product_id else None,
                _metadata(batch, self.metadata, metadata) if len(metadata) else None,
            )
            first += batch.num_rows


def look_at_table_file(url: str, vector_column: str | None, id_column: str | None, with_ids: bool) -> TableFile:
    """Gives the columns of a Parquet file their roles.

    Args:
        url: the file.
        vector_column, id_column: by name; None for the usual names.
        with_ids: whether the file may have a column of ids; without, such a column is metadata.

    Raises:
        UsageError: a named column is missing or of another type, no column or more than one can be the vector, or the
            file is damaged.
    """
    where = storage.redact(url)
    file = _open(url)
    schema = file.schema_arrow
    listed = ", ".join(schema.names)
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise UsageError(f"{where} has the column {repeated[0]!r} twice; column names must differ")
    for flag, name in (("--vector-column", vector_column), ("--id-column", id_column)):
        if name is not None and name not in schema.names:
            raise UsageError(f"{where} has no column {name!r} ({flag}); its columns are: {listed}")
    vector = vector_column or _find_vector(schema, where)
    values = _values_type(schema.field(vector).type)
    if values is None:
        raise UsageError(f"{where}: column {vector!r} is {schema.field(vector).type}; vectors must be lists of numbers")
    others = [name for name in schema.names if name != vector]
    item_id = (id_column or first_known(others, _ITEM_ID_NAMES)) if with_ids else None
    others = [name for name in others if name != item_id]
    product_id = first_known(others, _PRODUCT_ID_NAMES)
    others = [name for name in others if name != product_id]
    for name in (item_id, product_id):
        kind = pa.null() if name is None else carried_type(schema.field(name).type)
        if not any(is_(kind) for is_ in _IDS):
            raise UsageError(f"{where}: column {name!r} is {kind}; ids must be text or whole numbers")
    carried = [name for name in others if _is_plain(carried_type(schema.field(name).type))]
    return TableFile(
        url,
        file.metadata.num_rows,
        _dimension(url, vector, schema.field(vector).type),
        str(values),
        vector,
        item_id,
        product_id,
        pa.schema([pa.field(name, carried_type(schema.field(name).type)) for name in carried]),
        tuple(name for name in others if name not in carried),
    )


def _find_vector(schema: pa.Schema, where: str) -> str:
    lists = [field.name for field in schema if _values_type(field.type) is not None]
    name = first_known(lists, _VECTOR_NAMES) or (lists[0] if len(lists) == 1 else None)
    if name is None:
        if lists:
            listed = ", ".join(lists)
            raise UsageError(
                f"{where}: more than one column could be the vector; name it with --vector-column: {listed}"
            )
        listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise UsageError(f"{where}: no column holds lists of numbers, which vectors are; its columns are: {listed}")
    return name


def _values_type(type_: pa.DataType) -> pa.DataType | None:
    """The type of the numbers in a column of vectors; None for any other column."""
    type_ = getattr(type_, "storage_type", type_)  # Tensors of a fixed shape are lists underneath.
    if not (pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)):
        return None
    values = type_.value_type
    return values if pa.types.is_floating(values) or pa.types.is_integer(values) else None


def _is_plain(type_: pa.DataType) -> bool:
    """Whether a column is carried through as metadata."""
    bytes_ = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return not (
        pa.types.is_nested(type_) or isinstance(type_, pa.BaseExtensionType) or any(is_(type_) for is_ in bytes_)
    )


def _dimension(url: str, column: str, type_: pa.DataType) -> int | None:
    storage_type = getattr(type_, "storage_type", type_)
    dimension: int | None = None
    if pa.types.is_fixed_size_list(storage_type):
        dimension = storage_type.list_size
    else:
        for batch in _batches(url, [column], _LOOK_ROWS):
            dimension = pc.max(pc.list_value_length(_plain_list(batch.column(0)))).as_py()
            if dimension:
                break
    if dimension == 0:
        return None
    if dimension is not None and dimension > MOST_DIMENSIONS:
        raise UsageError(
            f"{storage.redact(url)} has vectors of {dimension} dimensions; expected 1 to {MOST_DIMENSIONS:,}"
        )
    return dimension


def _vectors(column: pa.Array, dimension: int, url: str, first: int) -> tuple[np.ndarray, np.ndarray | None]:
    """[n, d] and bool [n], the rows without a vector (null or an empty list), None where all have one."""
    column = _plain_list(column)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    missing = lengths == 0
    wrong = np.flatnonzero(~missing & (lengths != dimension))
    if len(wrong):
        raise UsageError(
            f"{storage.redact(url)}: row {first + int(wrong[0]) + 1} has a vector of {lengths[wrong[0]]} dimensions, "
            f"expected {dimension} in every row"
        )
    if not missing.any():
        return _numbers(column.flatten()).reshape(-1, dimension), None
    there = _numbers(column.filter(pa.array(~missing)).flatten()).reshape(-1, dimension)
    vectors = np.zeros((len(column), dimension), there.dtype)
    vectors[~missing] = there
    return vectors, missing


def _plain_list(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _numbers(values: pa.Array) -> np.ndarray:
    """Numbers as they are; with a null among them float64, the null being no number."""
    return (values.cast(pa.float64()) if values.null_count else values).to_numpy(zero_copy_only=False)


def _text(values: pa.Array) -> pa.Array:
    return as_text(values.cast(carried_type(values.type)))


def _metadata(batch: pa.RecordBatch, there: pa.Schema, wanted: pa.Schema) -> pa.StructArray:
    arrays = []
    for field in wanted:
        if field.name in there.names:
            values = batch.column(field.name).cast(there.field(field.name).type, safe=False)
            arrays.append(cast_number(values, field.type))
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    return pa.StructArray.from_arrays(arrays, fields=list(wanted))


def _open(url: str) -> pq.ParquetFile:
    try:
        # Buffered: a row group of any size is read a piece at a time.
        return pq.ParquetFile(storage.open_read(url), buffer_size=1 << 20, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{storage.redact(url)} is not a readable Parquet file: {error}") from None


def _batches(url: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    file = _open(url)
    try:
        yield from file.iter_batches(batch_size=rows, columns=list(columns))
    except (storage.TransientError, TimeoutError, PermissionError):
        raise
    except (pa.ArrowInvalid, OSError) as error:
        if "Expected all lists to be of size" in str(error):
            raise UsageError(
                f"{storage.redact(url)}: column {columns[0]!r} has a null among lists of a fixed size, which Arrow "
                "does not read from Parquet; write the column as list<float>, or leave those rows out"
            ) from None
        raise UsageError(f"{storage.redact(url)} is not a readable Parquet file: {error}") from None
