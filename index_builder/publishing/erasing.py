"""Deletion, a step at a time: before each one the owner of the mark looks whether it is still its own.

A collector that stood still goes on in another world: another one has ended its work, the version was built again and
is on a channel. So nothing is deleted by what was known before the last step.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from catalog import storage
from catalog.channel import channel_names, read_channel
from catalog.manifest import manifest_url, version_folder
from index_builder.publishing.collectable import BUILD, CODEBOOK, CODES, VERSION, Thing
from index_builder.publishing.holdings import Holdings, files_by_folder
from index_builder.publishing.marks import hold, release
from index_builder.publishing.pins import pins_url, read_pins

Clock = Callable[[], datetime.datetime]
# Files that are deleted between two looks at the mark: seconds on an object store, in as many threads.
_BATCH = 1_000
_DELETING_AT_ONCE = 16

NAMED = "a channel or a pin names it now"
PUBLISHED = "it was published meanwhile"
BUILDING = "a build may be under way that uses it"
TAKEN = "another gc is deleting it"


class Eraser:
    """Deletes what one run of the collector owns the marks of.

    Attributes:
        deleted: paths of things that are gone.
        stopped: by path, why something is not, or not wholly.
    """

    def __init__(self, root: str, held: Holdings, owner: str, clock: Clock) -> None:
        """
        Args:
            root: URL of ARTIFACTS/<name>.
            held: what there was at the last look.
            owner: of the marks.
            clock: the time, with its zone.
        """
        self._root, self._held, self._owner, self._clock = root, held, owner, clock
        self.deleted: set[str] = set()
        self.stopped: dict[str, str] = {}

    def erase(self, things: Sequence[Thing]) -> None:
        """Deletes things of all kinds, those first that others are needed for."""
        for kind in (VERSION, BUILD, CODEBOOK):
            for thing in things:
                if thing.kind == kind:
                    self._erase(thing)
        codes = [each.path for each in things if each.kind == CODES]
        for first in range(0, len(codes), _BATCH):
            self._erase_codes(codes[first : first + _BATCH])
        release(self._root, set(codes), self._owner)

    def _erase(self, thing: Thing) -> None:
        for step in self._steps(thing):
            why = self._why_not(thing)
            if why:
                self.stopped[thing.path] = why
                break
            step()
        else:
            self.deleted.add(thing.path)
        release(self._root, {thing.path}, self._owner)

    def _erase_codes(self, paths: list[str]) -> None:
        held = hold(self._root, paths, self._owner, self._clock())
        why = self._build_began()
        going = [] if why else [path for path in paths if path in held]
        self._delete_all([storage.join(self._root, path) for path in going])
        self.deleted.update(going)
        self.stopped |= {path: why or TAKEN for path in paths if path not in self.deleted}

    def _steps(self, thing: Thing) -> Iterator[Callable[[], None]]:
        name = thing.path.split("/")[-1]
        if thing.kind == VERSION:
            yield partial(storage.delete, manifest_url(self._root, name))
            # Of which the same version, built again, must know nothing.
            yield partial(storage.delete, pins_url(self._root, name))
            yield from self._tree(version_folder(self._root, name))
        elif thing.kind == BUILD:
            work = storage.join(self._root, "work", name)
            # First what says that other files are there.
            yield from self._tree(storage.join(work, "files"))
            yield partial(storage.delete, storage.join(work, "training.json"))
            yield from self._tree(work)
            if not self._was_published(name):
                yield from self._tree(version_folder(self._root, name))
        else:
            # A codebook is whole if it has this one.
            yield partial(storage.delete, storage.join(self._root, thing.path, "codebook.json"))
            yield from self._tree(storage.join(self._root, thing.path))

    def _tree(self, folder: str) -> Iterator[Callable[[], None]]:
        files = list(storage.list_files(folder))
        for first in range(0, len(files), _BATCH):
            yield partial(self._delete_all, files[first : first + _BATCH])
        # What a disk has beside files, and what a build that does not know yet has stored meanwhile.
        yield partial(storage.delete_tree, folder)

    def _delete_all(self, urls: Sequence[str]) -> None:
        if urls:
            with ThreadPoolExecutor(_DELETING_AT_ONCE) as threads:
                list(threads.map(storage.delete, urls))

    def _why_not(self, thing: Thing) -> str:
        """Why the next step of a deletion is not made; "" if it is."""
        name = thing.path.split("/")[-1]
        if thing.kind == VERSION and self._is_named(name):
            return NAMED
        if thing.kind == BUILD and not self._was_published(name) and storage.exists(manifest_url(self._root, name)):
            return PUBLISHED
        if not hold(self._root, [thing.path], self._owner, self._clock()):
            return TAKEN
        return self._build_began() if thing.kind == CODEBOOK else ""

    def _is_named(self, version: str) -> bool:
        for name in channel_names(self._root):
            channel = read_channel(self._root, name)
            if any(each is not None and each.version == version for each in (channel.pointer, *channel.earlier[:1])):
                return True
        pins, _ = read_pins(self._root, version)
        return pins is not None and bool(pins.reasons)

    def _was_published(self, version: str) -> bool:
        return version in self._held.whole or version in self._held.damaged

    def _build_began(self) -> str:
        """Codes go when no build is under way. One that began since the last look has stored something, or is through
        and has a version of its own."""
        if files_by_folder(self._root, "work"):
            return BUILDING
        gone = {path.removeprefix("versions/") for path in self.deleted}
        gone |= {path.removeprefix("work/") for path in self.deleted if not self._was_published(path[len("work/") :])}
        return BUILDING if files_by_folder(self._root, "versions").keys() - (self._held.folders.keys() - gone) else ""
