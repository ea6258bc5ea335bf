"""The settings of an embedding store: fixed when it is created, the same for all of its snapshots."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, fields

from catalog import canonical_json, storage
from catalog.errors import ConflictError, UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StoreSettings:
    """`store.json`.

    Attributes:
        partitions: how many; a power of two.
        vector_type: `float16` or `float32`, of the `embedding` column.
    """

    partitions: int
    vector_type: str


def read_settings(store: str) -> StoreSettings | None:
    """The settings of a store, or None where there is no store yet."""
    url = storage.join(store, "store.json")
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    version = canonical_json.parse(data, url, lambda value: value["schema_version"])
    if version != SCHEMA_VERSION:
        raise UsageError(f"{url} has schema version {version}; this version reads {SCHEMA_VERSION}")
    names = [field.name for field in fields(StoreSettings)]
    return canonical_json.parse(data, url, lambda value: StoreSettings(**{name: value[name] for name in names}))


def create(store: str, wanted: StoreSettings) -> StoreSettings:
    """Creates the store; returns its settings, which are those of the first to create it."""
    with contextlib.suppress(ConflictError):
        storage.create(
            storage.join(store, "store.json"), canonical_json.dump({"schema_version": SCHEMA_VERSION, **asdict(wanted)})
        )
    there = read_settings(store)
    assert there is not None
    return there
