"""The log: every version that was ever published, numbered from 1 without a gap. Entries are created, never changed."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

from catalog import canonical_json, storage
from catalog.channel import Pointer, check_schema
from catalog.errors import CatalogIndexerError, ConflictError, IntegrityError

SCHEMA_VERSION = 1
_TRIES = 100
_READERS = 16
# Seconds that a publisher waits at most after another one took its number.
_LONGEST_PAUSE = 0.2


def read_log(root: str) -> list[Pointer]:
    """Every published version, oldest first, those that were collected since among them.

    Raises:
        IntegrityError: an entry is damaged, or one is missing between two others.
    """
    urls = list(storage.list_files(storage.join(root, "log")))
    with ThreadPoolExecutor(_READERS) as readers:
        entries = list(readers.map(_read_entry, urls))
    for place, entry in enumerate(entries, start=1):
        if entry.sequence != place:
            raise IntegrityError(f"{root}/log: entry {place} is missing or misnamed")
    return entries


def logged(root: str, version: str) -> Pointer | None:
    """The latest entry of a version."""
    return next((entry for entry in reversed(read_log(root)) if entry.version == version), None)


def append_to_log(root: str, version: str, manifest_sha256: str) -> Pointer:
    """The version's entry, made if it is not there yet. Numbers are taken create-only, so that none is lost."""
    for _ in range(_TRIES):
        log = read_log(root)
        for entry in log:
            if (entry.version, entry.manifest_sha256) == (version, manifest_sha256):
                return entry
        pointer = Pointer(version, manifest_sha256, len(log) + 1)
        data = canonical_json.dump({"schema_version": SCHEMA_VERSION, **pointer.to_json()})
        try:
            storage.create(_entry_url(root, pointer.sequence), data)
            return pointer
        except ConflictError:
            time.sleep(random.uniform(0, _LONGEST_PAUSE))  # Another publisher took the number: take the next.
    raise CatalogIndexerError(f"{root}/log: {_TRIES} other publishers were faster; run again")


def _entry_url(root: str, sequence: int) -> str:
    return storage.join(root, "log", f"{sequence:06d}.json")


def _read_entry(url: str) -> Pointer:
    def build(value: dict[str, object]) -> Pointer:
        check_schema(value, url)
        return Pointer.from_json(value)

    return canonical_json.parse(storage.read_bytes(url), url, build)
