"""`pins/<version>.json`: reasons to keep a version, whatever else is collected.

A version's manifest may have pins of its own, from when it was built. Once there is a file, the file counts, so that
those can be lifted too.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from catalog import canonical_json, storage
from catalog.channel import check_schema, who
from catalog.errors import ConflictError, UsageError
from catalog.manifest import Manifest
from index_builder.publishing.marks import keep_from_collection

SCHEMA_VERSION = 1
_TRIES = 100


@dataclass(frozen=True)
class Pin:
    """A reason, who gave it, and when (UTC, ISO 8601)."""

    reason: str
    by: str
    at: str


@dataclass(frozen=True)
class Pins:
    """The pins of a version, none if they were lifted; and who lifted earlier ones, when and why, None if nobody."""

    pins: tuple[Pin, ...] = ()
    lifted: Pin | None = None

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.pins]


def pins_url(root: str, version: str) -> str:
    """Where the pins of a version are."""
    return storage.join(root, "pins", f"{version}.json")


def read_pins(root: str, version: str) -> tuple[Pins | None, str | None]:
    """The pins that were set or lifted since the version was built, None if that never happened, and the token to
    replace them with. Raises IntegrityError."""
    url = pins_url(root, version)
    data, token = storage.read_with_token(url)
    if data is None:
        return None, token

    def build(value: dict[str, Any]) -> Pins:
        check_schema(value, url)
        lifted = value["lifted"]
        return Pins(tuple(Pin(**each) for each in value["pins"]), Pin(**lifted) if lifted else None)

    return canonical_json.parse(data, url, build), token


def pins_of(manifest: Manifest, stored: Pins | None) -> Pins:
    """The pins that count: what is stored, else those of the manifest."""
    if stored is not None:
        return stored
    return Pins(tuple(Pin(reason, "the build", manifest.created_at) for reason in manifest.pins))


def all_pins(root: str) -> dict[str, Pins]:
    """By version, the pins that are stored. Raises IntegrityError."""
    names = [storage.name_of(url).removesuffix(".json") for url in storage.list_files(storage.join(root, "pins"))]
    found = {name: read_pins(root, name)[0] for name in names}
    return {name: pins for name, pins in found.items() if pins is not None}


def pin(root: str, manifest: Manifest, reason: str) -> Pins:
    """Adds a reason to keep a version. The same reason again changes nothing.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of the version.
        reason: why.

    Raises:
        UsageError: no reason is given, or the version is being deleted.
        IntegrityError: it was deleted.
    """
    if not reason.strip():
        raise UsageError('a pin needs a --reason "…", which is recorded')
    keep_from_collection(root, manifest.version)
    new = Pin(reason.strip(), who(), _now())
    return _change(root, manifest, lambda there: there if new.reason in there.reasons else _added(there, new))


def unpin(root: str, manifest: Manifest, reason: str = "") -> Pins:
    """Lifts all pins of a version, those of its manifest too. Where it has none, nothing changes."""
    lifted = Pin(reason.strip(), who(), _now())
    return _change(root, manifest, lambda there: Pins((), lifted) if there.pins else there)


def _added(there: Pins, new: Pin) -> Pins:
    return Pins((*there.pins, new), there.lifted)


def _change(root: str, manifest: Manifest, change: Callable[[Pins], Pins]) -> Pins:
    for _ in range(_TRIES):
        stored, token = read_pins(root, manifest.version)
        there = pins_of(manifest, stored)
        changed = change(there)
        if changed == there:
            return there
        value = {
            "schema_version": SCHEMA_VERSION,
            "version": manifest.version,
            "pins": [asdict(each) for each in changed.pins],
            "lifted": asdict(changed.lifted) if changed.lifted else None,
        }
        try:
            storage.compare_and_swap(pins_url(root, manifest.version), canonical_json.dump(value), token)
            return changed
        except ConflictError:
            continue
    raise ConflictError(f"{pins_url(root, manifest.version)} was changed by others {_TRIES} times; run again")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
