"""JSON in one spelling: the same value is the same bytes, so that files can be compared and hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from catalog.errors import IntegrityError


def dump(value: Any) -> bytes:
    """Sorted keys, two-space indent, UTF-8, a newline at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def load(data: bytes, where: str) -> Any:
    """The value in `data`. Raises IntegrityError naming `where` when it is not JSON."""
    try:
        return json.loads(data)
    except ValueError:
        raise IntegrityError(f"{where} is damaged: it is not JSON") from None


def digest(value: Any) -> str:
    """sha256 of the canonical bytes, in hex."""
    return hashlib.sha256(dump(value)).hexdigest()
