"""A data page of a Parquet file as bytes: its header, and the levels in front of its values.

Just enough of the format to tell whether a page holds nothing but required values of lists of one length, so that they
can be read without decoding anything. The header is a struct in Thrift's compact protocol; levels are runs, repeated or
bit-packed.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

DATA_PAGE, DATA_PAGE_V2 = 0, 3
PLAIN, RLE = 0, 3

# Kinds of fields in Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEEPEST = 8


@dataclass(frozen=True)
class PageHeader:
    """The header of a page.

    Attributes:
        size: bytes of the header itself.
        kind: `DATA_PAGE`, `DATA_PAGE_V2`, or another number.
        body: bytes of the page after its header.
        unpacked: bytes of the page once decompressed.
        crc: CRC-32 of the body, or None.
        values: entries in a data page of the first version, else -1.
        encodings: of its values, definition levels and repetition levels.
    """

    size: int
    kind: int
    body: int
    unpacked: int
    crc: int | None
    values: int
    encodings: tuple[Any, Any, Any]


def parse_header(data: bytes) -> PageHeader:
    """The header that `data` begins with. Raises ValueError where there is none, or not all of it."""
    try:
        fields, size = _struct(data, 0, 0)
    except IndexError:
        raise ValueError("a page header ends nowhere") from None
    kind, unpacked, body, crc = (fields.get(number) for number in (1, 2, 3, 4))
    if type(kind) is not int or type(unpacked) is not int or type(body) is not int:
        raise ValueError("a page header lacks its kind or sizes")
    if crc is not None and type(crc) is not int:
        raise ValueError("a page header has a checksum that is no number")
    page = fields.get(5)
    if not isinstance(page, dict):
        page = {}
    values = page.get(1)
    return PageHeader(
        size=size,
        kind=kind,
        body=body,
        unpacked=unpacked,
        crc=None if crc is None else crc & 0xFFFFFFFF,
        values=values if type(values) is int else -1,
        encodings=(page.get(2), page.get(3), page.get(4)),
    )


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Field number to value, and where the struct ends."""
    if depth > _DEEPEST:
        raise ValueError("a page header is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        if number in fields:
            raise ValueError("a page header has a field twice")
        fields[number], at = _value(data, at, head & 15, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_I16, _I32, _I64):
        return _integer(data, at)
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind == _BINARY:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise IndexError
        return data[at : at + length], at + length
    raise ValueError(f"a page header has a field of kind {kind}, which none has")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a page header has a number of more than 64 bits")


@functools.lru_cache(maxsize=32)  # The pages of all row groups have the same few.
def levels_are_regular(levels: bytes, values: int, begun: int, length: int) -> bool:
    """Whether the levels of a page say: nothing is missing, and every list has `length` values.

    Args:
        levels: repetition and definition levels of one bit, each behind its length, as they stand before the values.
        values: entries in the page.
        begun: values of the list that the page begins in which were in the page before.
        length: values in a list.
    """
    try:
        repetition, at = _section(levels, 0, values)
        definition, at = _section(levels, at, values)
    except (IndexError, ValueError, struct.error):
        return False
    inside = np.arange(begun, begun + values) % length != 0
    return at == len(levels) and bool((definition == 1).all()) and bool((repetition == inside).all())


def _section(levels: bytes, at: int, values: int) -> tuple[np.ndarray, int]:
    """uint8 [values]: one kind of levels, and where they end."""
    (size,) = struct.unpack_from("<I", levels, at)
    at += 4
    return _runs(levels[at : at + size], values), at + size


_BITS = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]


def _runs(data: bytes, values: int) -> np.ndarray:
    found, at = bytearray(), 0
    while at < len(data):
        run, at = _varint(data, at)
        if run & 1:
            packed = data[at : at + (run >> 1)]
            at += run >> 1
            found += b"".join([_BITS[byte] for byte in packed])
        else:
            if (run >> 1) > values - len(found):
                raise ValueError("more levels than values")
            found += data[at : at + 1] * (run >> 1)
            at += 1
    # The last group of eight may be filled up.
    if at != len(data) or not values <= len(found) < values + 8:
        raise ValueError("not as many levels as values")
    return np.frombuffer(found, np.uint8)[:values]
