"""Ages, sizes and values as people say them."""

from __future__ import annotations

from typing import Any

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def age(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`."""
    if seconds is None:
        return "-"
    for unit, length in _UNITS:
        if seconds >= 2 * length or (unit != "d" and seconds >= length):
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def megabytes(size: int | None) -> str:
    """`2.0`: bytes in millions."""
    return "-" if size is None else f"{size / 1e6:,.1f}"


def value(something: Any) -> str:
    """A value of a manifest, short."""
    if something is None:
        return "-"
    if isinstance(something, bool):
        return "yes" if something else "no"
    if isinstance(something, int):
        return f"{something:,}"
    if isinstance(something, float):
        return f"{something:.4f}"
    if isinstance(something, dict):
        return ", ".join(f"{name} {value(each)}" for name, each in something.items()) or "-"
    if isinstance(something, (list, tuple)):
        return ", ".join(f"({value(each)})" if isinstance(each, list) else value(each) for each in something) or "-"
    return str(something)
