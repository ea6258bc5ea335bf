from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.parquet_page import PageHeader, levels_are_regular, parse_header


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(value: int, step: int = 1) -> bytes:
    """A field of 32 bits, `step` after the one before."""
    return bytes([step << 4 | 5]) + varint(value << 1 if value >= 0 else (-value << 1) - 1)


def header(body: int, crc: int, values: int, statistics: bytes = b"\x00") -> bytes:
    page = b"\x1c" + number(values) + number(0) + number(3) + number(3) + b"\x1c" + statistics + b"\x00"
    return number(0) + number(body) + number(body) + number(crc) + page + b"\x00"


@given(st.integers(0, 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**31 - 1), st.binary())
def test_a_header_is_read_whatever_follows_it(body: int, crc: int, values: int, after: bytes) -> None:
    data = header(body, crc, values)
    assert parse_header(data + after) == PageHeader(len(data), 0, body, body, crc % 2**32, values, (0, 3, 3))


def test_statistics_and_fields_of_later_versions_are_skipped() -> None:
    statistics = b"\x18\x02\xff\xff" + b"\x18\x01\x00" + number(0) + b"\x11\x12" + b"\x00"
    assert parse_header(header(10, 1, 5, statistics)).values == 5
    later = header(10, 1, 5)[:-1] + b"\x05" + varint(40) + varint(7) + b"\x00"
    assert parse_header(later).body == 10


def test_no_beginning_of_a_header_is_one() -> None:
    data = header(1 << 20, -5, 1 << 19)
    for size in range(len(data)):
        with pytest.raises(ValueError, match="page header"):
            parse_header(data[:size])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_a_value_error(data: bytes) -> None:
    try:
        found = parse_header(data)
    except ValueError:
        return
    assert 0 < found.size <= len(data)


@st.composite
def encoded(draw: st.DrawFn, levels: list[int]) -> bytes:
    """The levels behind their length, as runs that a writer is free to choose."""
    out, at = b"", 0
    while at < len(levels):
        equal = next((end for end in range(at, len(levels)) if levels[end] != levels[at]), len(levels)) - at
        if draw(st.booleans()):
            count = draw(st.integers(1, equal))
            out += varint(count << 1) + bytes([levels[at]])
        else:
            groups = draw(st.integers(1, -(-(len(levels) - at) // 8)))
            count = groups * 8
            bits = (levels[at : at + count] + [0] * 8)[:count] if at + count > len(levels) else levels[at : at + count]
            bits += [0] * (count - len(bits))
            packed = [sum(bit << place for place, bit in enumerate(bits[g : g + 8])) for g in range(0, count, 8)]
            out += varint(groups << 1 | 1) + bytes(packed)
        at += count
    return struct.pack("<I", len(out)) + out


@settings(max_examples=300)
@given(st.data(), st.integers(1, 12), st.integers(1, 60))
def test_levels_are_regular_if_every_list_has_its_length_and_only_then(
    data: st.DataObject, length: int, values: int
) -> None:
    begun = data.draw(st.integers(0, length - 1))
    repetition = [0 if place % length == 0 else 1 for place in range(begun, begun + values)]
    definition = [1] * values
    good = data.draw(encoded(repetition)) + data.draw(encoded(definition))
    assert levels_are_regular(good, values, begun, length)
    assert not levels_are_regular(good[:-1], values, begun, length)
    assert not levels_are_regular(good + b"\x00", values, begun, length)
    wrong = data.draw(st.integers(0, values - 1))
    for levels in (repetition, definition):
        levels[wrong] ^= 1
        bad = data.draw(encoded(repetition)) + data.draw(encoded(definition))
        assert not levels_are_regular(bad, values, begun, length)
        levels[wrong] ^= 1


@given(st.binary(max_size=40), st.integers(1, 9))
def test_any_bytes_are_levels_or_not(levels: bytes, values: int) -> None:
    assert levels_are_regular(levels, values, 0, 3) in (True, False)
