"""Types of CSV columns, inferred from all of their values and only where no digit is lost by it.

`00123` stays text (a SKU, not a number), and so does a 19-digit barcode; a price of `1.10` is the number 1.1. Kinds
merge, so files and blocks can be looked at in any order, or in parallel, with the same outcome.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# Written as the number would be printed: no leading zeros or plus. A float holds 15 digits, int64 18.
_INTEGER = r"^(0|-?[1-9][0-9]{0,14})$"
_LONG_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
# An exponent without a point needs its sign: `12E4` is a part number more often than 120000.
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})((\.[0-9]{1,17})([eE][-+]?[0-9]{1,3})?|[eE][-+][0-9]{1,3})?$"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"

# "empty" is a column without any value so far.
_TYPES = {
    "empty": pa.null(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
}
_PATTERNS = (("bool", _BOOLEAN), ("int", _INTEGER), ("long", _LONG_INTEGER), ("float", _NUMBER))
# Of two different kinds with values; all other pairs are text.
_MERGED = {frozenset(("int", "long")): "long", frozenset(("int", "float")): "float"}


def kind_of(values: pa.Array | pa.ChunkedArray) -> str:
    """The narrowest kind that holds every non-empty string in `values`: empty, bool, int, long, float or text."""
    present = pc.filter(values, pc.not_equal(values, ""))
    if len(present) == 0:
        return "empty"
    for kind, pattern in _PATTERNS:
        if pc.all(pc.match_substring_regex(present, pattern)).as_py():
            return kind
    return "text"


def merge_kinds(one: str, other: str) -> str:
    """The narrowest kind that holds what both hold."""
    if one == other or other == "empty":
        return one
    if one == "empty":
        return other
    return _MERGED.get(frozenset((one, other)), "text")


def type_of_kind(kind: str) -> pa.DataType:
    """The Arrow type that a column of this kind is carried in."""
    return _TYPES[kind]


def convert(values: pa.Array, target: pa.DataType) -> pa.Array:
    """The strings of a CSV column as `target`; the empty string becomes null. Raises ArrowInvalid on a misfit."""
    if pa.types.is_null(target):
        return pa.nulls(len(values))
    values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return pc.utf8_lower(values).cast(target) if pa.types.is_boolean(target) else values.cast(target)
