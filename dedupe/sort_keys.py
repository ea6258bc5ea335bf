"""Values as bytes whose order is the order of the values, so that rows of many files and processes sort alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_WIDTH = 9  # Whether it is missing, and 64 bits.
_LONGEST_TEXT = 256  # bytes that count: what orders rows is a date or a name, and a description is never copied whole.
_NONE = pa.scalar(b"", pa.binary())
_SIGN = np.uint64(1 << 63)


def joined(keys: list[pa.Array], rows: int) -> pa.Array:
    """binary [rows]: several keys as one, the first counting most. None of them is null."""
    if not keys:
        return pa.array([b""] * rows, pa.binary())
    return pc.binary_join_element_wise(*keys, _NONE)


def flag_key(flags: np.ndarray) -> pa.Array:
    """binary [n] of bool [n]: false before true."""
    return _fixed(np.asarray(flags, bool).astype(np.uint8).reshape(-1, 1))


def number_key(values: pa.Array, descending: bool = False) -> pa.Array:
    """binary [n] of numbers, truth values, dates or times: in their order, missing ones and NaN last. Comparable with
    keys of the same type and unit."""
    bits, missing = _ordered_bits(values)
    if descending:
        bits = ~bits
    key = np.empty((len(values), _WIDTH), np.uint8)
    key[:, 0] = missing
    key[:, 1:] = np.where(missing, np.uint64(0), bits).astype(">u8").view(np.uint8).reshape(-1, 8)
    return _fixed(key)


def text_key(values: pa.Array, descending: bool = False) -> pa.Array:
    """binary [n] of text: by code point, missing ones last. Texts that begin with the same 256 bytes tie."""
    data = pc.binary_slice(values.cast(pa.string()).cast(pa.binary()), 0, _LONGEST_TEXT)
    # A zero byte is escaped and two end the text: no key is the beginning of another, in either direction.
    escaped = pc.replace_substring(data, pattern=b"\0", replacement=b"\0\xff")
    ended = pc.binary_join_element_wise(escaped, pa.scalar(b"\0\0", pa.binary()), _NONE)
    if descending:
        ended = _inverted(ended)
    present = pc.binary_join_element_wise(pa.scalar(b"\0", pa.binary()), ended, _NONE)
    return pc.fill_null(present, pa.scalar(b"\1", pa.binary()))


def is_number(value_type: pa.DataType) -> bool:
    """Whether `number_key` takes values of this type."""
    return (
        pa.types.is_integer(value_type)
        or pa.types.is_floating(value_type)
        or pa.types.is_boolean(value_type)
        or pa.types.is_temporal(value_type)
        or pa.types.is_decimal(value_type)
    ) and not pa.types.is_interval(value_type)


def _ordered_bits(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [n] in the order of the values, and bool [n]: which are missing."""
    kind = values.type
    if pa.types.is_unsigned_integer(kind) or pa.types.is_boolean(kind):
        plain = values.cast(pa.uint64()).fill_null(0).to_numpy(zero_copy_only=False)
        return plain, values.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = values.cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False) + 0.0  # -0 is 0.
        bits = floats.view(np.uint64)
        return np.where(bits & _SIGN, ~bits, bits | _SIGN), np.isnan(floats)
    if pa.types.is_temporal(kind):
        narrow = pa.types.is_date32(kind) or pa.types.is_time32(kind)
        values = values.cast(pa.int32()) if narrow else values
    whole = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return whole.view(np.uint64) ^ _SIGN, values.is_null().to_numpy(zero_copy_only=False)


def _fixed(key: np.ndarray) -> pa.Array:
    """uint8 [n, w] as binary [n]."""
    rows, width = key.shape
    buffer = pa.py_buffer(np.ascontiguousarray(key).tobytes())
    return pa.Array.from_buffers(pa.binary(width), rows, [None, buffer]).cast(pa.binary())


def _inverted(values: pa.Array) -> pa.Array:
    """Every bit of every value turned round."""
    whole = pa.concat_arrays([values])  # The offsets begin at 0.
    validity, offsets, data = whole.buffers()
    if data is None:
        return whole
    turned = ~np.frombuffer(data, np.uint8)
    return pa.Array.from_buffers(pa.binary(), len(whole), [validity, offsets, pa.py_buffer(turned.tobytes())])
