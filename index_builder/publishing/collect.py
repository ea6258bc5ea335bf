"""Collection: what nothing needs is marked, and deleted when the grace is over and still nothing needs it.

Whoever starts to need a version takes its mark away first (`marks.keep_from_collection`). Before anything is deleted it
is marked as `deleting`, from when on nobody can start to need it, and everything is looked at once more. Of a version
the manifest goes first: what is half deleted is no version. A collector that dies leaves marks, from which another one
goes on an hour later.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from catalog.errors import UsageError
from index_builder.publishing.collectable import BUILD, CODEBOOK, CODES, VERSION, Thing, collectable, sizes_of
from index_builder.publishing.erasing import BUILDING, TAKEN, Clock, Eraser
from index_builder.publishing.holdings import Holdings, look
from index_builder.publishing.marks import (
    DELETING,
    LEAST_GRACE,
    MARKED,
    Mark,
    Marks,
    change_marks,
    read_marks,
    release,
)
from index_builder.publishing.reachable import Retention, seconds_since

# Marks are one small file. A night leaves a few thousand codes at most; what is beyond waits for the next time.
_MARKED_CODES = 20_000

# In the order in which they are told.
_KINDS = (VERSION, BUILD, CODEBOOK, CODES)
# Why what was due is not deleted, by the folder that it is in.
_SPARED = {
    "versions": "something began to need it meanwhile",
    "work": "the build goes on",
    "codebooks": BUILDING,
    "codes": BUILDING,
}
STAY, MARK, WAIT, DELETE, DELETED = "stay", "mark", "wait", "delete", "deleted"


@dataclass(frozen=True)
class Fate:
    """What becomes of something.

    Attributes:
        path: below ARTIFACTS/<name>; of codes, of all those of one codebook with the same fate.
        kind: `version`, `build`, `codes` or `codebook`.
        step: `stay`; `mark`: it is marked now, or would be; `wait`: the grace is not over; `delete`: it would be
            deleted; `deleted`.
        files: how many.
        bytes: of those, None for what stays and is no version.
        why: why it stays, or waits though the grace is over.
        until: when the grace is over, UTC, ISO 8601; None for what stays.
    """

    path: str
    kind: str
    step: str
    files: int
    bytes: int | None
    why: tuple[str, ...]
    until: str | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "why": list(self.why)}


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def collect(root: str, retention: Retention, delete: bool = False, clock: Clock = utc_now) -> list[Fate]:
    """Marks what nothing needs, and deletes what was marked a grace ago; or says what it would do.

    Args:
        root: URL of ARTIFACTS/<name>.
        retention: what stays without being asked for.
        delete: do it; else nothing is written.
        clock: the time, with its zone.

    Returns:
        What becomes of everything: versions, the newest last, then builds, codebooks and codes.

    Raises:
        UsageError: there is nothing.
        IntegrityError: a channel, a pin, the log or the marks are damaged; nothing was deleted.
    """
    now, owner = clock(), secrets.token_hex(8)
    marks, _ = read_marks(root)
    held = look(root)
    things = collectable(root, held, marks, retention, now)
    if not held.log and not things:
        raise UsageError(f"{root}: nothing is published there; run catalog-indexer index first")
    sizes = sizes_of(root, held, [each for each in things.values() if each.kind == VERSION or not each.stays])
    if not delete:
        return _fates(things, _marked(things, marks, owner, now), sizes, set(), {}, owner, now)
    marks = change_marks(root, lambda there: _marked(things, there, owner, clock()))
    deleted: set[str] = set()
    spared: dict[str, str] = {}
    if any(mark.owner == owner for mark in marks.values()):
        deleted, spared = _delete(root, held, things, retention, owner, clock)
    return _fates(things, marks, sizes, deleted, spared, owner, now)


def _marked(things: Mapping[str, Thing], marks: Marks, owner: str, now: datetime.datetime) -> Marks:
    """The marks as they should be: of what may go, those as `deleting`, by an owner, that have waited for their grace.
    What another collector is deleting stays its own, unless it was not heard of for long."""
    building = _under_way(things, marks, now)
    fresh = now.isoformat(timespec="seconds")
    # What another collector is deleting may have appeared after this one looked.
    after: Marks = {
        path: mark.deleting(owner, now) if mark.is_free(now) else mark
        for path, mark in marks.items()
        if mark.state == DELETING
    }
    codes = 0
    for path, thing in things.items():
        mark = marks.get(path)
        if path in after or thing.stays:
            continue
        if mark is None or mark.digest != thing.digest:
            codes += thing.kind == CODES
            if thing.kind != CODES or codes <= _MARKED_CODES:
                after[path] = Mark(fresh, MARKED, thing.digest)
        else:
            codes += thing.kind == CODES
            held_up = building and thing.kind in (CODES, CODEBOOK)
            after[path] = mark.deleting(owner, now) if _is_due(mark, thing, now) and not held_up else mark
    return after


def _under_way(things: Mapping[str, Thing], marks: Marks, now: datetime.datetime) -> bool:
    """Whether a build may be under way, which may use any codes."""
    return any(thing.kind == BUILD and not _is_left_off(thing, marks.get(path), now) for path, thing in things.items())


def _is_left_off(build: Thing, mark: Mark | None, now: datetime.datetime) -> bool:
    if mark is None or mark.state == DELETING:
        return mark is not None
    return mark.digest == build.digest and _is_due(mark, build, now)


def _is_due(mark: Mark, thing: Thing, now: datetime.datetime) -> bool:
    waited = seconds_since(mark.since, now)
    return waited is not None and waited >= thing.grace


def _delete(
    root: str, held: Holdings, planned: Mapping[str, Thing], retention: Retention, owner: str, clock: Clock
) -> tuple[set[str], dict[str, str]]:
    """Deletes what an owner has marked as `deleting` and is not needed. Returns the paths of that, and of what is
    spared with the reason."""
    marks, _ = read_marks(root)
    again = look(root, held.whole)
    things = collectable(root, again, marks, retention, clock())
    due = {path for path, mark in marks.items() if mark.owner == owner}
    due_now = [things[path] for path in sorted(due & things.keys()) if not things[path].stays]
    going = [each for each in due_now if each.kind == VERSION or (each.kind == BUILD and _is_quiet(each, planned))]
    left_off = {each.path for each in going}
    if all(each.kind != BUILD or path in left_off for path, each in things.items()):
        going += [each for each in due_now if each.kind in (CODES, CODEBOOK)]
    spared = due - {each.path for each in going}
    release(root, spared, owner)
    eraser = Eraser(root, again, owner, clock)
    eraser.erase(going)
    return eraser.deleted, {**{path: _SPARED[path.split("/")[0]] for path in spared}, **eraser.stopped}


def _is_quiet(build: Thing, planned: Mapping[str, Thing]) -> bool:
    """Whether a build has stored nothing since it was looked at: else it is alive."""
    before = planned.get(build.path)
    return before is not None and set(build.files) <= set(before.files)


def _fates(
    things: Mapping[str, Thing],
    marks: Marks,
    sizes: Mapping[str, int],
    deleted: set[str],
    spared: Mapping[str, str],
    owner: str,
    now: datetime.datetime,
) -> list[Fate]:
    found: dict[tuple[str, str, str | None], Fate] = {}
    for path, thing in sorted(things.items(), key=lambda each: (_KINDS.index(each[1].kind), each[0])):
        mark = marks.get(path)
        if path in deleted:
            step, until, why = DELETED, None, thing.stays
        elif path in spared and not thing.stays:
            step, until, why = STAY, None, (spared[path],)
        else:
            step, until, why = _step(thing, mark, owner, now)
        shown = path.rsplit("/", 1)[0] if thing.kind == CODES else path
        key = (shown, step, until)
        fate = Fate(shown, thing.kind, step, len(thing.files), sizes.get(path), why, until)
        if thing.kind == CODES and key in found:
            before = found[key]
            size = None if fate.bytes is None else fate.bytes + (before.bytes or 0)
            fate = Fate(shown, thing.kind, step, before.files + fate.files, size, before.why, until)
        found[key] = fate
    return list(found.values())


def _step(
    thing: Thing, mark: Mark | None, owner: str, now: datetime.datetime
) -> tuple[str, str | None, tuple[str, ...]]:
    if thing.stays:
        return STAY, None, thing.stays
    if mark is None:
        return MARK, None, ()
    since = datetime.datetime.fromisoformat(mark.since)
    until = since + datetime.timedelta(seconds=thing.grace)
    why: tuple[str, ...] = ()
    if mark.owner == owner:
        step = DELETE
    elif mark.state == DELETING:
        step, until, why = WAIT, mark.said() + datetime.timedelta(seconds=LEAST_GRACE), (TAKEN,)
    elif since >= now.replace(microsecond=0):
        step = MARK
    else:
        step, why = WAIT, (BUILDING,) if _is_due(mark, thing, now) else ()
    return step, until.isoformat(timespec="seconds"), why
