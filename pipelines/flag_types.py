"""What the values of flags may be: types for argparse, whose errors say what would be right."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence

# A flag of Beam whose value is for nobody to read.
_SECRET_FLAG = re.compile(r"(?i)^(--\w*(?:password|passwd|secret|token|credential)\w*=).*", re.DOTALL)


def at_least(smallest: int) -> Callable[[str], int]:
    """An argparse type: a whole number not below `smallest`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is less than {smallest}")
        return value

    return parse


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def label(text: str) -> tuple[str, str]:
    """An argparse type: NAME=VALUE."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def positive(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


def duration(text: str) -> float:
    """An argparse type: seconds, from 90s, 30min, 24h or 7d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d)", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30min, 24h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


_SIZE_UNITS = {"": 1, "B": 1}
_SIZE_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)}
_SIZE_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)}


def size(text: str) -> int:
    """An argparse type: a number of bytes, such as 20MB, 1.5GB, 2GiB, 512KiB or 4096."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text.strip())
    units = {unit.lower(): factor for unit, factor in _SIZE_UNITS.items()}
    if found is None or found[2].lower() not in units:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 20MB, 2GiB or 4096")
    value = int(float(found[1]) * units[found[2].lower()])
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def without_secrets(beam_arguments: Sequence[str]) -> list[str]:
    """Flags of Beam to be read by people: without the values of those that are named like a password or a token."""
    shown: list[str] = []
    hidden = False
    for each in beam_arguments:
        shown.append("…" if hidden and not each.startswith("--") else _SECRET_FLAG.sub(r"\1…", each))
        hidden = _SECRET_FLAG.fullmatch(f"{each}=") is not None
    return shown
