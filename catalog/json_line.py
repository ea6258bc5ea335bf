"""One line of a JSON Lines file: an object as a dict of cells, each the text of its value.

Numbers are kept as they are written, so that no digit is lost before the whole column is known. Lists and objects
inside are cells of their JSON text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from catalog.text_stream import is_unicode


class Number(str):
    """A number as it is written in the file."""

    __slots__ = ()


class Boolean(str):
    """`true` or `false`."""

    __slots__ = ()


class Nested(str):
    """A list or an object as JSON text."""

    __slots__ = ()


class NotAnObjectError(ValueError):
    """The line is not a JSON object; says what it is, to follow "the row"."""


class _Pairs(list):
    """The members of an object, repeated keys too; a list of JSON is a plain list."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=Number, parse_int=Number, parse_constant=Number)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_TRUE, _FALSE = Boolean("true"), Boolean("false")


def parse_line(line: str) -> dict[str, str | None]:
    """The cells of an object by key, null being None; an empty dict is an object without members.

    Raises:
        NotAnObjectError: broken JSON, another value than an object, a repeated key, or half a surrogate pair.
    """
    line = line.strip(" \t\r\n")
    try:
        pairs = _DECODER.decode(line)
        if type(pairs) is not _Pairs:
            raise NotAnObjectError(f"is {_name_of(pairs)}, expected a JSON object")
        cells = dict(pairs)
        if len(cells) < len(pairs):
            raise NotAnObjectError(f"has the key {_repeated(pairs)!r:.40} twice")
        for key, value in pairs:
            if value is True:
                cells[key] = _TRUE
            elif value is False:
                cells[key] = _FALSE
            elif isinstance(value, list):
                cells[key] = Nested(_json_text(value))
    except json.JSONDecodeError as error:
        raise NotAnObjectError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise NotAnObjectError("is nested too deeply") from None
    if _SURROGATE.search(line) and not _all_unicode(cells):
        raise NotAnObjectError("has half a surrogate pair (\\ud800 to \\udfff), which is no character")
    return cells


def may_go_on(text: str) -> bool:
    """Whether `text` is JSON or the beginning of it, which another line could end."""
    text = text.strip()
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except RecursionError:
        return False
    return True


def _all_unicode(cells: dict[str, str | None]) -> bool:
    return all(is_unicode(key) and is_unicode(value or "") for key, value in cells.items())


def _repeated(pairs: _Pairs) -> str:
    return Counter(key for key, _ in pairs).most_common(1)[0][0]


def _name_of(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Number):
        return "a number"
    return {None: "null", True: "true", False: "false"}.get(value, "a string")


def _json_text(value: Any) -> str:
    """A value as JSON text, numbers as they were written."""
    if isinstance(value, _Pairs):
        return _between("{}", (f"{json.dumps(key, ensure_ascii=False)}: {_json_text(of)}" for key, of in value))
    if isinstance(value, list):
        return _between("[]", map(_json_text, value))
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def _between(brackets: str, parts: Iterable[str]) -> str:
    return f"{brackets[0]}{', '.join(parts)}{brackets[1]}"
