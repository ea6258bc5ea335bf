"""JSON in one spelling: the same value is the same bytes, so that files can be compared and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from catalog.errors import IntegrityError

_T = TypeVar("_T")


def dump(value: Any) -> bytes:
    """Sorted keys, two-space indent, UTF-8, a newline at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def load(data: bytes, where: str) -> Any:
    """The value in `data`. Raises IntegrityError naming `where` when it is not JSON."""
    try:
        return json.loads(data)
    except ValueError:
        raise IntegrityError(f"{where} is damaged: it is not JSON") from None


def parse(data: bytes, where: str, build: Callable[[Any], _T]) -> _T:
    """What `build` makes of the value in `data`. Raises IntegrityError when it is not JSON, or not of that shape."""
    return shaped(load(data, where), where, build)


def shaped(value: Any, where: str, build: Callable[[Any], _T]) -> _T:
    """What `build` makes of a value of the file `where`. Raises IntegrityError when it is not of that shape."""
    try:
        return build(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{where} is damaged: {type(error).__name__} {error}") from None


def digest(value: Any) -> str:
    """sha256 of the canonical bytes, in hex."""
    return hashlib.sha256(dump(value)).hexdigest()
