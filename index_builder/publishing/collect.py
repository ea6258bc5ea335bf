"""Collection: what nothing needs is marked, and deleted when the grace is over and still nothing needs it.

Whoever starts to need a version takes its mark away first (`marks.keep_from_collection`). Before anything is deleted it
is marked as `deleting`, from when on nobody can start to need it, and everything is looked at once more. Of a version
the manifest goes first: what is half deleted is no version. A collector that dies leaves marks, from which the next one
goes on.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from catalog import storage
from catalog.manifest import manifest_url, version_folder
from index_builder.publishing.collectable import BUILD, CODEBOOK, CODES, VERSION, Thing, collectable, sizes_of
from index_builder.publishing.holdings import Holdings, look
from index_builder.publishing.marks import DELETING, MARKED, Mark, Marks, change_marks, read_marks
from index_builder.publishing.pins import pins_url
from index_builder.publishing.reachable import Retention, seconds_since

# Marks are one small file. A night leaves a few thousand codes at most; what is beyond waits for the next time.
_MARKED_CODES = 20_000
_DELETING_AT_ONCE = 16

# In the order in which they are told and deleted.
_KINDS = (VERSION, BUILD, CODEBOOK, CODES)
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


def collect(root: str, retention: Retention, delete: bool = False, now: datetime.datetime | None = None) -> list[Fate]:
    """Marks what nothing needs, and deletes what was marked a grace ago; or says what it would do.

    Args:
        root: URL of ARTIFACTS/<name>.
        retention: what stays without being asked for.
        delete: do it; else nothing is written.
        now: the time, with its zone; that of the clock if None.

    Returns:
        What becomes of everything: versions, the newest last, then builds, codebooks and codes.

    Raises:
        IntegrityError: a channel, a pin, the log or the marks are damaged; nothing was deleted.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    marks, _ = read_marks(root)
    held = look(root)
    things = collectable(root, held, marks, retention, now)
    sizes = sizes_of(root, held, [each for each in things.values() if each.kind == VERSION or not each.stays])
    if not delete:
        return _fates(things, _marked(things, marks, now), sizes, set(), now)
    marks = change_marks(root, lambda there: _marked(things, there, now))
    due = {path for path, mark in marks.items() if mark.state == DELETING}
    deleted, spared = _delete(root, held, things, due, retention, now) if due else (set(), set())
    return _fates(things, {path: marks[path] for path in marks.keys() - spared}, sizes, deleted, now)


def _marked(things: Mapping[str, Thing], marks: Marks, now: datetime.datetime) -> Marks:
    """The marks as they should be: of what may go, those as `deleting` that have waited for their grace."""
    building = _under_way(things, marks, now)
    fresh = now.isoformat(timespec="seconds")
    # What another collector is deleting may have appeared after this one looked.
    after: Marks = {path: mark for path, mark in marks.items() if mark.state == DELETING}
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
            after[path] = Mark(mark.since, DELETING, mark.digest) if _is_due(mark, thing, now) and not held_up else mark
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
    root: str,
    held: Holdings,
    planned: Mapping[str, Thing],
    due: set[str],
    retention: Retention,
    now: datetime.datetime,
) -> tuple[set[str], set[str]]:
    """Deletes what is marked as `deleting` and is not needed. Returns the paths of that, and of what is spared."""
    marks, _ = read_marks(root)
    again = look(root, held.whole)
    things = collectable(root, again, marks, retention, now)
    due_now = [things[path] for path in sorted(due & things.keys()) if not things[path].stays]
    going = [each for each in due_now if each.kind == VERSION or (each.kind == BUILD and _is_quiet(each, planned))]
    left_off = {each.path for each in going}
    if all(each.kind != BUILD or path in left_off for path, each in things.items()):
        going += [each for each in due_now if each.kind in (CODES, CODEBOOK)]
    paths = {each.path for each in going}
    if due - paths:
        _unmark(root, due - paths)
    for thing in sorted(going, key=lambda each: _KINDS.index(each.kind)):
        if thing.kind != CODES:
            _erase(root, again, thing)
            _unmark(root, {thing.path})
    codes = [each for each in going if each.kind == CODES]
    with ThreadPoolExecutor(_DELETING_AT_ONCE) as threads:
        list(threads.map(lambda each: storage.delete(storage.join(root, each.path)), codes))
    _unmark(root, {each.path for each in codes})
    return paths, due - paths


def _is_quiet(build: Thing, planned: Mapping[str, Thing]) -> bool:
    """Whether a build has stored nothing since it was looked at: else it is alive."""
    before = planned.get(build.path)
    return before is not None and set(build.files) <= set(before.files)


def _unmark(root: str, paths: set[str]) -> None:
    change_marks(root, lambda there: {path: mark for path, mark in there.items() if path not in paths})


def _erase(root: str, held: Holdings, thing: Thing) -> None:
    name = thing.path.split("/")[-1]
    if thing.kind == VERSION:
        storage.delete(manifest_url(root, name))
        storage.delete(pins_url(root, name))  # Of which the same version, built again, must know nothing.
        storage.delete_tree(version_folder(root, name))
    elif thing.kind == BUILD:
        work = storage.join(root, "work", name)
        # First what says that other files are there.
        storage.delete_tree(storage.join(work, "files"))
        storage.delete(storage.join(work, "training.json"))
        storage.delete_tree(work)
        if name not in held.whole and name not in held.damaged:
            storage.delete_tree(version_folder(root, name))
    else:
        # A codebook is whole if it has this one.
        storage.delete(storage.join(root, thing.path, "codebook.json"))
        storage.delete_tree(storage.join(root, thing.path))


def _fates(
    things: Mapping[str, Thing], marks: Marks, sizes: Mapping[str, int], deleted: set[str], now: datetime.datetime
) -> list[Fate]:
    found: dict[tuple[str, str, str | None], Fate] = {}
    for path, thing in sorted(things.items(), key=lambda each: (_KINDS.index(each[1].kind), each[0])):
        mark = marks.get(path)
        step, until = _step(thing, mark, path in deleted, now)
        shown = path.rsplit("/", 1)[0] if thing.kind == CODES else path
        key = (shown, step, until)
        why = thing.stays
        if step == WAIT and mark is not None and _is_due(mark, thing, now):
            why = ("a build may be under way that uses it",)
        fate = Fate(shown, thing.kind, step, len(thing.files), sizes.get(path), why, until)
        if thing.kind == CODES and key in found:
            before = found[key]
            size = None if fate.bytes is None else fate.bytes + (before.bytes or 0)
            fate = Fate(shown, thing.kind, step, before.files + fate.files, size, before.why, until)
        found[key] = fate
    return list(found.values())


def _step(thing: Thing, mark: Mark | None, deleted: bool, now: datetime.datetime) -> tuple[str, str | None]:
    if deleted:
        return DELETED, None
    if thing.stays:
        return STAY, None
    if mark is None:
        return MARK, None
    since = datetime.datetime.fromisoformat(mark.since)
    until = (since + datetime.timedelta(seconds=thing.grace)).isoformat(timespec="seconds")
    if mark.state == DELETING:
        return DELETE, until
    return (MARK if mark.since == now.isoformat(timespec="seconds") else WAIT), until
