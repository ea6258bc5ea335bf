"""Types of CSV and JSON Lines columns, inferred from all of their values and only where no digit is lost by it.

`00123` stays text (a SKU, not a number), and so does a 19-digit barcode; a price of `1.10` is the number 1.1. Kinds
merge, so files and blocks can be looked at in any order, or in parallel, with the same outcome.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# Written as the number would be printed: no leading zeros or plus. A float holds 15 digits, int64 18.
_INTEGER = r"^(0|-?[1-9][0-9]{0,14})$"
_LONG_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_WHOLE = r"(0|[1-9][0-9]{0,14})"
# Programs print 17 digits of a float, and up to four zeros before them.
_FRACTION = r"([1-9][0-9]{0,14}\.[0-9]{1,17}|0\.0{0,4}[0-9]{1,17})"
# An exponent without a point needs its sign: `12E4` is a part number more often than 120000.
_NUMBER = rf"^-?({_FRACTION}([eE][-+]?[0-9]{{1,3}})?|{_WHOLE}([eE][-+][0-9]{{1,3}})?)$"
# In JSON a number is said to be one; NaN and infinities are what Python and others write there.
_JSON_NUMBER = rf"^(NaN|-?Infinity|-?({_FRACTION}|{_WHOLE})([eE][-+]?[0-9]{{1,3}})?)$"
_NOT_FINITE = r"^(NaN|-?Infinity)$"
_NOT_ZERO = r"^-?[0.]*[1-9]"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"

# "empty" is a column without any value so far, "json" the text of lists and objects.
_TYPES = {
    "empty": pa.null(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "json": pa.string(),
    "text": pa.string(),
}
_PATTERNS = (("bool", _BOOLEAN), ("int", _INTEGER), ("long", _LONG_INTEGER), ("float", _NUMBER))
_JSON_PATTERNS = (("int", _INTEGER), ("long", _LONG_INTEGER), ("float", _JSON_NUMBER))
_GLANCE = 64
# Of two different kinds with values; all other pairs are text.
_MERGED = {frozenset(("int", "long")): "long", frozenset(("int", "float")): "float"}


def kind_of(values: pa.Array | pa.ChunkedArray) -> str:
    """The narrowest kind that holds every non-empty string in `values`: empty, bool, int, long, float or text."""
    return _narrowest(pc.filter(values, pc.not_equal(values, "")), _PATTERNS)


def kind_of_numbers(values: pa.Array) -> str:
    """The narrowest kind that holds every JSON number in `values`, as it was written: empty, int, long, float or
    text."""
    return _narrowest(values, _JSON_PATTERNS)


def _narrowest(present: pa.Array | pa.ChunkedArray, patterns: tuple[tuple[str, str], ...]) -> str:
    if len(present) == 0:
        return "empty"
    for kind, pattern in patterns:
        # Most patterns that do not hold fail at once.
        if _all_match(present.slice(0, _GLANCE), pattern) and _all_match(present, pattern):
            return kind if kind != "float" or _floats_hold(present) else "text"
    return "text"


def _all_match(values: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _floats_hold(numbers: pa.Array | pa.ChunkedArray) -> bool:
    """Whether no number is so large that it becomes infinite or so small that it becomes zero."""
    floats = numbers.cast(pa.float64())
    lost = pc.and_(pc.is_inf(floats), pc.invert(pc.match_substring_regex(numbers, _NOT_FINITE)))
    if pc.any(zero := pc.equal(floats, 0)).as_py():
        lost = pc.or_(lost, pc.and_(zero, pc.match_substring_regex(numbers, _NOT_ZERO)))
    return not pc.any(lost).as_py()


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


def convert(values: pa.Array, target: pa.DataType, empty_is_null: bool = True) -> pa.Array:
    """The texts of a column as `target`; of a CSV column the empty text is null. Raises ArrowInvalid on a misfit."""
    if pa.types.is_null(target):
        return pa.nulls(len(values))
    if empty_is_null:
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return pc.utf8_lower(values).cast(target) if pa.types.is_boolean(target) else values.cast(target)
