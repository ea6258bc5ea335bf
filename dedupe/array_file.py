"""A few arrays and settings in one .npz file: without pickle, with a schema version and a checksum."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np

from catalog import canonical_json
from catalog.errors import IntegrityError

_SETTINGS = "settings"


def pack(kind: str, schema_version: int, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file. Equal content is equal bytes.

    Args:
        kind: what it is, in a word.
        schema_version: of this kind.
        settings: JSON values.
        arrays: by name; none may be called `settings`.
    """
    described = {"kind": kind, "schema_version": schema_version, **settings}
    signed = {**described, "sha256": _digest(described, arrays)}
    sink = io.BytesIO()
    text = np.frombuffer(canonical_json.dump(signed), np.uint8)
    np.savez(sink, allow_pickle=False, **{_SETTINGS: text, **{name: arrays[name] for name in sorted(arrays)}})
    return sink.getvalue()


def unpack(data: bytes, where: str, kind: str, schema_version: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and arrays of a file that `pack` made. Raises IntegrityError naming `where` when it is another, damaged,
    or of another version."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        settings = dict(json.loads(arrays.pop(_SETTINGS).tobytes()))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise IntegrityError(f"{where} is damaged: it holds no {kind}") from None
    if settings.get("kind") != kind or settings.get("schema_version") != schema_version:
        raise IntegrityError(f"{where} holds no {kind} of version {schema_version}: make it again")
    if settings.pop("sha256", None) != _digest(settings, arrays):
        raise IntegrityError(f"{where} is damaged: its content does not match its checksum")
    return settings, arrays


def _digest(settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """sha256 over the settings and, by name, every array's type, shape and bytes."""
    digest = hashlib.sha256(canonical_json.dump(settings))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(canonical_json.dump([name, array.dtype.str, list(array.shape)]))
        digest.update(array.tobytes())
    return digest.hexdigest()
