"""Marks: what the collector means to delete. Who starts to use a version takes its mark away first.

What is `deleting` belongs to one run of the collector, its owner, which looks at the mark before every step and stops
when it is no longer its own. Another run takes over from an owner that has not been heard of for an hour.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace

from catalog import canonical_json, storage
from catalog.channel import check_schema
from catalog.errors import ConflictError, IntegrityError, UsageError
from catalog.manifest import manifest_url

SCHEMA_VERSION = 2
MARKED = "marked"
DELETING = "deleting"
HOUR = 3600.0
# The least time from a mark to the deletion, and from an owner's last word to another one's taking over. Between taking
# a mark away and moving a channel a promotion makes one request, a rollback two; an owner, between its look at the mark
# and the deletion, at most two listings.
LEAST_GRACE = HOUR
# An owner says that it is there when its last word is older than this: not before every step, for a mark is a write to
# one file that all marks are in.
_SAID_EVERY = LEAST_GRACE / 12
_TRIES = 100


@dataclass(frozen=True)
class Mark:
    """Since when (UTC, ISO 8601) something is not needed, and whether it is `marked` or already `deleting`.

    `digest` is of the names of what is there, for what may still grow: another one makes the mark begin anew. Of what
    is `deleting`, `owner` is the run of the collector that does it, and `taken` when that said so last (UTC, ISO 8601);
    else both are "".
    """

    since: str
    state: str = MARKED
    digest: str = ""
    owner: str = ""
    taken: str = ""

    def deleting(self, owner: str, now: datetime.datetime) -> Mark:
        """The mark as one of an owner that deletes what is marked."""
        return replace(self, state=DELETING, owner=owner, taken=now.isoformat(timespec="seconds"))

    def said(self) -> datetime.datetime:
        """When the owner of what is being deleted said so last. What an earlier program marked says only since when."""
        return datetime.datetime.fromisoformat(self.taken or self.since)

    def is_free(self, now: datetime.datetime) -> bool:
        """Whether what is being deleted may be taken over: its owner has died, or stands still."""
        return (now - self.said()).total_seconds() > LEAST_GRACE


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
        for when in (each for mark in marks.values() for each in (mark.since, mark.taken or mark.since)):
            if datetime.datetime.fromisoformat(when).tzinfo is None:
                raise ValueError(f"{when} has no time zone")
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


def hold(root: str, paths: Collection[str], owner: str, now: datetime.datetime) -> set[str]:
    """Those of some paths that an owner still deletes; the last look before a step of it. Says that it is there where
    it has not for a while, so that nobody takes over meanwhile."""

    def change(marks: Marks) -> Marks:
        for path in paths:
            mark = marks.get(path)
            if mark is not None and mark.owner == owner and (now - mark.said()).total_seconds() > _SAID_EVERY:
                marks[path] = mark.deleting(owner, now)
        return marks

    marks = change_marks(root, change)
    return {path for path in paths if path in marks and marks[path].owner == owner}


def release(root: str, paths: Collection[str], owner: str) -> None:
    """Takes the marks of an owner away, of what it has deleted or spares."""
    if paths:
        change_marks(
            root, lambda marks: {path: mark for path, mark in marks.items() if path not in paths or mark.owner != owner}
        )


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
