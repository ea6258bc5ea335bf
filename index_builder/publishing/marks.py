"""Marks: what the collector means to delete. Who starts to use a version takes its mark away first."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass

from catalog import canonical_json, storage
from catalog.channel import check_schema
from catalog.errors import ConflictError, IntegrityError, UsageError
from catalog.manifest import manifest_url

SCHEMA_VERSION = 1
MARKED = "marked"
DELETING = "deleting"
_TRIES = 100


@dataclass(frozen=True)
class Mark:
    """Since when (UTC, ISO 8601) something is not needed, and whether it is `marked` or already `deleting`.

    `digest` is of the names of what is there, for what may still grow: another one makes the mark begin anew.
    """

    since: str
    state: str = MARKED
    digest: str = ""


Marks = dict[str, Mark]


def marks_url(root: str) -> str:
    """Where the marks are."""
    return storage.join(root, "collection.json")


def read_marks(root: str) -> tuple[Marks, str | None]:
    """Marks by path below ARTIFACTS/<name>, such as `versions/V`, and the token to replace them with."""
    url = marks_url(root)
    data, token = storage.read_with_token(url)
    if data is None:
        return {}, token

    def build(value: dict) -> Marks:
        check_schema(value, url)
        marks = {path: Mark(**mark) for path, mark in value["marks"].items()}
        for mark in marks.values():
            if datetime.datetime.fromisoformat(mark.since).tzinfo is None:
                raise ValueError(f"{mark.since} has no time zone")
        return marks

    return canonical_json.parse(data, url, build), token


def write_marks(root: str, marks: Marks, token: str | None) -> None:
    """Replaces the marks. Raises ConflictError if somebody else did meanwhile."""
    value = {"schema_version": SCHEMA_VERSION, "marks": {path: asdict(mark) for path, mark in marks.items()}}
    storage.compare_and_swap(marks_url(root), canonical_json.dump(value), token)


def change_marks(root: str, change: Callable[[Marks], Marks]) -> Marks:
    """Applies a pure change to the marks, again where somebody else was faster. Returns what they are then."""
    for _ in range(_TRIES):
        marks, token = read_marks(root)
        changed = change(dict(marks))
        if changed == marks:
            return marks
        try:
            write_marks(root, changed, token)
            return changed
        except ConflictError:
            continue
    raise ConflictError(f"{marks_url(root)} was changed by others {_TRIES} times; run again")


def keep_from_collection(root: str, version: str) -> None:
    """Takes the mark of a version away, before a channel or a pin begins to need it. Writes only where there is one.

    From here on the collector has to mark it again and let the grace pass: what needs it is written long before.

    Raises:
        UsageError: it is being deleted.
        IntegrityError: it is deleted already.
    """
    _take_away(root, [f"versions/{version}"], version)
    # After the mark: a collector that was through with the version has taken the mark away itself.
    if not storage.exists(manifest_url(root, version)):
        raise IntegrityError(f"{manifest_url(root, version)} is missing; version {version} was collected")


def keep_build_from_collection(root: str, version: str) -> None:
    """Takes the mark of a build that was left off away, before it goes on.

    Raises:
        UsageError: what it left is being deleted.
    """
    _take_away(root, [f"versions/{version}", f"work/{version}"], version)


def _take_away(root: str, paths: list[str], version: str) -> None:
    def change(marks: Marks) -> Marks:
        for path in paths:
            mark = marks.pop(path, None)
            if mark is not None and mark.state == DELETING:
                raise UsageError(f"version {version} is being deleted by gc; build it anew when gc is through")
        return marks

    change_marks(root, change)
