"""Data of a gallery as scripts: what a page may load from a disk, where it may load nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from dedupe.gallery.contents import SHOWN_CHARACTERS

#: Stores a file by its name in the gallery.
Put = Callable[[str, str], None]


class DataFiles:
    """Values in files `data/<kind>-<n>.js`; one is closed once its values are many or heavy enough.

    Attributes:
        files: that are stored.
    """

    def __init__(self, kind: str, put: Put, most_bytes: int, most_values: int | None = None) -> None:
        """
        Args:
            most_bytes: of the values of a file; a single value may be heavier.
        """
        self._kind, self._put, self._most_bytes, self._most_values = kind, put, most_bytes, most_values
        self._values: list[str] = []
        self._bytes = 0
        self.files = 0

    def add(self, value: Any) -> int:
        """Takes a value of JSON. Gives the number of the file that it will be in."""
        text = script_json(value)
        if self._values and (self._bytes + len(text) > self._most_bytes or len(self._values) == self._most_values):
            self.close()
        self._values.append(text)
        self._bytes += len(text)
        return self.files

    def close(self) -> None:
        """Stores what is held, if anything is."""
        if self._values:
            name = f"{self._kind}-{self.files:06d}"
            values = ",\n".join(self._values)
            self._put(f"data/{name}.js", f'galleryData("{name}",[\n{values}\n]);\n')
            self._values, self._bytes, self.files = [], 0, self.files + 1


def script_json(value: Any) -> str:
    """JSON that is safe in a script: ASCII and without `<`. Fields that are null, or no number, are left out."""
    text = json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def shortened(value: Any) -> str | None:
    """A text of anything, no longer than a page shows; None of None."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {name: _plain(each) for name, each in value.items()}
        return {name: each for name, each in plain.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        # Six digits are what a float32 holds: 0.9 is 0.9 again.
        return round(value, 6) if math.isfinite(value) else None
    return value
