"""The settings of an embedding store: fixed when it is created, the same for all of its snapshots."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass

from catalog import canonical_json, storage
from catalog.errors import ConflictError, UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StoreSettings:
    """`store.json`.

    Attributes:
        partitions: how many; a power of two.
        vector_type: `float16` or `float32`, of the `embedding` column.
        fingerprint: of the one encoder whose vectors the store holds.
        encoder: that encoder's name, for messages.
    """

    partitions: int
    vector_type: str
    fingerprint: str
    encoder: str


def read_settings(store: str) -> StoreSettings | None:
    """The settings of a store, or None where there is no store yet."""
    url = storage.join(store, "store.json")
    try:
        value = canonical_json.load(storage.read_bytes(url), url)
    except FileNotFoundError:
        return None
    if value.pop("schema_version", None) != SCHEMA_VERSION:
        raise UsageError(f"{url} was written by another schema version; this version reads {SCHEMA_VERSION}")
    return StoreSettings(**value)


def create_or_check(store: str, wanted: StoreSettings) -> StoreSettings:
    """Creates the store, or returns the settings of the one that is there.

    Raises:
        UsageError: the store belongs to another encoder or vector type, or has another number of partitions.
    """
    with contextlib.suppress(ConflictError):
        storage.create(
            storage.join(store, "store.json"), canonical_json.dump({"schema_version": SCHEMA_VERSION, **asdict(wanted)})
        )
    there = read_settings(store)
    assert there is not None
    if there.fingerprint != wanted.fingerprint:
        raise UsageError(
            f"{store} holds vectors of encoder {there.encoder} (fingerprint {there.fingerprint[:12]}), not of "
            f"{wanted.encoder} (fingerprint {wanted.fingerprint[:12]}); vectors of two encoders never share a store: "
            "give another --output"
        )
    return there
