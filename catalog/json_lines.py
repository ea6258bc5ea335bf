"""A JSON Lines file - one object a line - as blocks of rows, every column as text; bad lines are named by number.

A file has the columns that any of its lines has, which only a look over all of it finds. Lines are numbered from 1,
blank ones not counted. Not for: what one line says (`json_line`).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.blocks import Block, UnparsedRow
from catalog.column_types import kind_of_numbers, merge_kinds
from catalog.errors import UsageError
from catalog.json_line import Boolean, Nested, NotAnObjectError, Number, may_go_on, parse_line
from catalog.text_stream import cannot_be_read, check_beginning, not_utf8, open_bytes

_CHUNK_BYTES = 1 << 20
_LONGEST_LINE = 16 << 20
_MOST_KEYS = 1_000
_BLOCK_BYTES = 8 << 20
_BLOCK_CELLS = 1 << 20
_NUMBERS_AT_ONCE = 1 << 16
_KIND_OF_CELL: dict[type, str] = {str: "text", Boolean: "bool", Nested: "json"}


@dataclass
class JsonLinesLook:
    """What a look over a file found: the kind of each column, in order of first appearance, and the rows."""

    kinds: dict[str, str] = field(default_factory=dict)
    rows: int = 0


def look_at_json_lines(url: str) -> JsonLinesLook:
    """Reads the file once, a piece at a time.

    Raises:
        UsageError: it cannot be read, is not UTF-8, has no object at all, objects over several lines, or too many keys.
    """
    look, waiting, objects = JsonLinesLook(), 0, 0
    numbers: dict[str, list[Number]] = {}
    first: UnparsedRow | None = None
    for number, cells in _rows(url):
        look.rows = number
        if isinstance(cells, UnparsedRow):
            first = first or cells
            continue
        objects += 1
        for key, cell in cells.items():
            kind = look.kinds.setdefault(key, "empty")
            if cell is None or kind == "text":
                continue
            if type(cell) is Number:
                numbers.setdefault(key, []).append(cell)
                waiting += 1
            else:
                look.kinds[key] = merge_kinds(kind, _KIND_OF_CELL[type(cell)])
        if len(look.kinds) > _MOST_KEYS:
            raise UsageError(
                f"{storage.redact(url)} has more than {_MOST_KEYS:,} different keys by row {number}, and each is a "
                "column; put what differs from item to item into one nested object"
            )
        if waiting > _NUMBERS_AT_ONCE:
            _merge_numbers(look.kinds, numbers)
            waiting = 0
    _merge_numbers(look.kinds, numbers)
    if not look.rows:
        raise UsageError(f"{storage.redact(url)} is empty; expected one JSON object a line")
    if first is not None and not objects:
        raise UsageError(
            f"{storage.redact(url)} has no line that is a JSON object (row {first.row} {first.detail}); JSON Lines "
            "wants one object a line"
        )
    return look


def read_json_lines(url: str, columns: Sequence[str]) -> Iterator[Block]:
    """The rows in order, with the named columns; a key that a line lacks is null. Raises UsageError."""
    good: list[dict[str, str | None]] = []
    numbers: list[int] = []
    unparsed: list[UnparsedRow] = []
    length, most = 0, max(1, _BLOCK_CELLS // max(1, len(columns)))
    for number, cells in _rows(url):
        if isinstance(cells, UnparsedRow):
            unparsed.append(cells)
        else:
            good.append(cells)
            numbers.append(number)
            length += sum(map(len, filter(None, cells.values())))
        if len(good) + len(unparsed) >= most or length >= _BLOCK_BYTES:
            yield _block(good, numbers, unparsed, columns)
            good, numbers, unparsed, length = [], [], [], 0
    if good or unparsed:
        yield _block(good, numbers, unparsed, columns)


def _block(
    good: list[dict[str, str | None]], numbers: list[int], unparsed: list[UnparsedRow], columns: Sequence[str]
) -> Block:
    table = pa.table({name: pa.array([cells.get(name) for cells in good], pa.string()) for name in columns})
    return Block(table, np.array(numbers, np.int64), unparsed)


def _merge_numbers(kinds: dict[str, str], numbers: dict[str, list[Number]]) -> None:
    """Widens `kinds` by the numbers that wait, and forgets them."""
    for key, waiting in numbers.items():
        kinds[key] = merge_kinds(kinds[key], kind_of_numbers(pa.array(waiting, pa.string())))
    numbers.clear()


def _rows(url: str) -> Iterator[tuple[int, dict[str, str | None] | UnparsedRow]]:
    """Every line that is not blank, numbered from 1."""
    begun: str | None = None
    for number, line in enumerate(_lines(url), 1):
        if line is None:
            yield (
                number,
                UnparsedRow(number, f"is longer than {_LONGEST_LINE >> 20} MiB, the most that a line may have"),
            )
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise not_utf8(url, f"row {number}") from None
        try:
            cells = parse_line(text)
        except NotAnObjectError as error:
            if number == 2 and begun is not None and may_go_on(f"{begun}\n{text}"):
                raise UsageError(
                    f"{storage.redact(url)} has JSON over several lines; JSON Lines wants one object a line, for "
                    "example by: jq -c . (jq -c '.[]' of a list)"
                ) from None
            begun = text if number == 1 and may_go_on(text) else None
            yield number, UnparsedRow(number, str(error))
        else:
            yield number, cells


def _lines(url: str) -> Iterator[bytes | None]:
    """The lines that are not blank, as bytes; None for one that is too long."""
    rest, beginning, too_long = b"", True, False
    try:
        stream = open_bytes(url)
        while chunk := stream.read(_CHUNK_BYTES):
            if beginning:
                check_beginning(url, chunk)
                chunk, beginning = chunk.removeprefix(codecs.BOM_UTF8), False
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if too_long or len(line) > _LONGEST_LINE:
                    too_long = False
                    yield None
                elif line and not line.isspace():
                    yield line
            too_long = too_long or len(rest) > _LONGEST_LINE
            rest = b"" if too_long else rest
    except OSError as error:
        raise cannot_be_read(url, error) from None
    if too_long:
        yield None
    elif rest and not rest.isspace():
        yield rest
