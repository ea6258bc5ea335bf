"""Metadata: the columns of a catalog carried through as one struct, whose fields may change from night to night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def unify(types: Sequence[pa.DataType]) -> pa.DataType:
    """The struct type that holds what all of `types` hold: every field, numbers widened, and text where nothing else
    holds both."""
    fields: dict[str, pa.DataType] = {}
    for struct in types:
        for field in struct:
            there = fields.get(field.name, field.type)
            fields[field.name] = wider(there, field.type) or pa.string()
    return pa.struct(list(fields.items()))


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds what both hold; None where no type but text does. Whole numbers and fractions are float64."""
    if one.equals(other):
        return one
    try:
        schemas = [pa.schema([("x", one)]), pa.schema([("x", other)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def cast(values: pa.ChunkedArray | pa.Array, target: pa.DataType) -> pa.Array:
    """A struct column as another struct type: fields that it lacks are null, others are cast."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        return pa.array([], target)
    if array.type.equals(target):
        return array
    there = {field.name for field in array.type}
    columns = [
        _cast_field(array.field(field.name), field.type) if field.name in there else pa.nulls(len(array), field.type)
        for field in target
    ]
    return pa.StructArray.from_arrays(columns, fields=list(target), mask=array.is_null())


def _cast_field(values: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_string(target):
        return pa.array(as_texts(values), pa.string())
    return cast_number(values, target)


def cast_number(values: pa.Array, target: pa.DataType) -> pa.Array:
    """A cast that rounds a whole number which a float has not, rather than to fail."""
    return values.cast(target, safe=not pa.types.is_floating(target))


def as_texts(values: pa.Array) -> list[str | None]:
    """Each value as text; None for null."""
    try:
        return values.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return [None if value is None else str(value) for value in values.to_pylist()]


def comparable(values: pa.ChunkedArray | pa.Array | None, rows: int) -> list[tuple[tuple[str, str], ...]]:
    """For each row the names and texts of its fields that are not null, by name: equal for equal metadata, whatever the
    order of the columns, and NaN being itself."""
    if values is None:
        return [()] * rows
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        return []
    names = sorted(field.name for field in array.type)
    columns = [as_texts(array.field(name)) for name in names]
    return [
        tuple((name, text) for name, text in zip(names, texts, strict=True) if text is not None)
        for texts in zip(*columns, strict=True)
    ]


def to_dict(values: pa.StructScalar | None) -> dict[str, Any]:
    """One row's metadata for people: Python values, and text where Python has none (a date in the year 12000)."""
    if values is None or not values.is_valid:
        return {}
    result = {}
    for name in (field.name for field in values.type):
        try:
            result[name] = values[name].as_py()
        except (OverflowError, ValueError):
            result[name] = as_texts(pa.array([values[name]]))[0]
    return result
