"""A collector that stands still for hours, at any operation, and goes on in another world."""

from __future__ import annotations

import contextlib
import datetime

import pytest

from catalog import storage
from catalog.channel import read_channel
from catalog.errors import CatalogIndexerError
from catalog.version_log import logged
from index_builder.publishing.collect import Fate, collect
from index_builder.publishing.holdings import look
from index_builder.publishing.marks import DELETING, Mark, change_marks, keep_build_from_collection, read_marks
from tests.index_builder.publishing.collected_store import (
    KEEP_ONE,
    REACHABLE,
    ROOT,
    PiecewiseStore,
    check_whole,
    goes,
    later,
    publish_with_codes,
    reachable,
)
from tests.index_builder.publishing.made_versions import stored_version


class Clock:
    def __init__(self) -> None:
        self.now = later(0)

    def __call__(self) -> datetime.datetime:
        return self.now

    def on(self, hours: float) -> None:
        self.now += datetime.timedelta(hours=hours)

    def gc(self) -> list[Fate]:
        return collect(ROOT, KEEP_ONE, True, self)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(store: PiecewiseStore, clock: Clock) -> PiecewiseStore:
    """Where everything that nothing needs is marked, and its grace is over."""
    clock.gc()
    clock.on(7 * 24)
    return store


def build_again() -> None:
    """Version v0 and its codes, onto prod; or it is told that v0 is being deleted."""
    keep_build_from_collection(ROOT, "v0")
    publish_with_codes("v0", "old", [0, 1])


def codes_of_v0(store: PiecewiseStore) -> set[str]:
    return {name for name in store.names() if name.startswith(("codes/old/", "codebooks/old/"))}


def test_a_version_that_was_built_again_while_a_collector_stood_still_stays_whole(
    store: PiecewiseStore, clock: Clock
) -> None:
    before, began = dict(store.objects), clock.now
    store.plan({})
    clock.gc()
    count, deletions, built = store.operations, set(store.deletions), 0
    assert len(deletions) > 20
    for number in range(count):
        store.objects, clock.now = dict(before), began
        told: list[str] = []
        seen: list[set[str]] = []

        def meanwhile(number: int = number, told: list[str] = told, seen: list[set[str]] = seen) -> None:
            # Between its look at the mark and the deletion a collector may stand still for an hour, not more.
            clock.on(0.9 if number in deletions else 5)
            try:
                clock.gc()
                build_again()
            except CatalogIndexerError as error:
                told.append(str(error))
            seen.append(codes_of_v0(store))
            clock.on(0.05)

        store.plan({}, {number: meanwhile})
        clock.gc()
        store.plan({})
        pointer = read_channel(ROOT, "prod").pointer
        assert pointer is not None
        assert pointer.version == ("v5" if told else "v0"), number
        check_whole(reachable())
        if not told and number not in deletions:
            assert codes_of_v0(store) == seen[0], number
        built += not told
        clock.on(30)
        for _ in range(2):
            clock.gc()
            check_whole(reachable())
    assert built > count / 2


def test_a_pin_of_a_version_that_was_built_again_stays(store: PiecewiseStore, clock: Clock) -> None:
    """The collector stands still when it has deleted the manifest."""
    before, began = dict(store.objects), clock.now
    store.plan({})
    clock.gc()
    manifest = next(number for number, url in store.deletions.items() if url.endswith("v0/manifest.json"))
    store.objects, clock.now = before, began

    def meanwhile() -> None:
        clock.on(5)
        clock.gc()
        build_again()
        storage.write(f"{ROOT}/pins/v0.json", b"a pin")

    store.plan({}, {manifest + 1: meanwhile})
    with contextlib.suppress(CatalogIndexerError):  # It looks at the pins, of which this is none.
        clock.gc()
    assert storage.read_bytes(f"{ROOT}/pins/v0.json") == b"a pin"


def test_a_channel_that_comes_to_point_to_a_version_before_its_deletion_keeps_it(
    store: PiecewiseStore, clock: Clock
) -> None:
    """As one does that took the mark away and then stood still for longer than the grace."""
    before, began = dict(store.objects), clock.now
    store.plan({})
    clock.gc()
    first = min(store.deletions)
    store.objects, clock.now = before, began
    pointer = logged(ROOT, "v0")
    assert pointer is not None

    def meanwhile() -> None:
        store.objects[f"{ROOT}/channels/late.json"] = (read_channel(ROOT, "late").promoted(pointer, {}).to_bytes(), 0)

    # Before the channels are listed: three more channels and a pin are read, then the mark.
    store.plan({}, {first - 6: meanwhile})
    fates = {each.path: each for each in clock.gc()}
    check_whole({"v0"})
    assert (fates["versions/v0"].step, fates["versions/v0"].why) == ("stay", ("a channel or a pin names it now",))
    assert "versions/v0" not in read_marks(ROOT)[0]
    assert fates["versions/v1"].step == "deleted"


def test_what_another_collector_is_deleting_waits_for_an_hour_and_is_taken_over(
    store: PiecewiseStore, clock: Clock
) -> None:
    other = Mark(later(0).isoformat()).deleting("0" * 16, clock.now)
    change_marks(ROOT, lambda marks: {**marks, "versions/v1": other})
    clock.on(0.9)
    until = clock.now + datetime.timedelta(hours=0.1)
    for delete in (False, True):
        fates = {each.path: each for each in collect(ROOT, KEEP_ONE, delete, clock)}
        found = fates["versions/v1"]
        assert (found.step, found.why, found.until) == ("wait", ("another gc is deleting it",), until.isoformat())
    assert fates["versions/v0"].step == "deleted"
    assert read_marks(ROOT)[0]["versions/v1"] == other
    clock.on(0.2)
    assert {each.path: each.step for each in clock.gc()}["versions/v1"] == "deleted"
    assert read_marks(ROOT)[0] == {}


def test_a_long_deletion_says_that_it_goes_on_and_is_not_taken_over(store: PiecewiseStore, clock: Clock) -> None:
    before, began = dict(store.objects), clock.now
    store.plan({})
    clock.gc()
    wanted, numbers = store.names(), [number for number in range(store.operations) if number not in store.deletions]
    store.objects, clock.now = before, began
    owners: set[str] = set()

    def slow() -> None:
        clock.on(0.25)
        collect(ROOT, KEEP_ONE, True, clock)
        owners.update(mark.owner for mark in read_marks(ROOT)[0].values() if mark.state == DELETING)

    first = min(store.deletions)
    store.plan({}, {number: slow for number in numbers if number > first and number % 5 == 0})
    clock.gc()
    store.plan({})
    assert clock.now > began + datetime.timedelta(hours=3)
    assert store.names() == wanted
    assert len(owners) == 1


def test_codes_stay_where_a_build_began_since_the_last_look(store: PiecewiseStore, clock: Clock) -> None:
    before, began = dict(store.objects), clock.now
    codes = {name for name in store.names() if name.startswith(("codes/", "codebooks/"))}
    store.plan({})
    clock.gc()
    first = min(number for number, url in store.deletions.items() if url.startswith(f"{ROOT}/code"))
    versions = [number for number, url in store.deletions.items() if url.startswith(f"{ROOT}/versions")]
    assert len([number for number in versions if number < first]) > 5
    for offset, begin in enumerate((build_begins, build_is_published)):
        for number in range(offset, first - 2, 2):
            store.objects, clock.now = dict(before), began
            store.plan({}, {number: begin})
            clock.gc()
            store.plan({})
            assert codes <= store.names(), number
            assert not any(mark.state == DELETING for mark in read_marks(ROOT)[0].values())
            check_whole(REACHABLE)


def build_begins() -> None:
    storage.write(f"{ROOT}/work/v10/sample/000000.arrow", b"work")


def build_is_published() -> None:
    stored_version(ROOT, "v10")


def test_a_build_that_was_published_while_it_was_deleted_keeps_its_files(store: PiecewiseStore, clock: Clock) -> None:
    before, began = dict(store.objects), clock.now
    store.plan({})
    clock.gc()
    files = [number for number, url in store.deletions.items() if url.startswith(f"{ROOT}/versions/v9/")]
    store.objects, clock.now = dict(before), began
    manifest = stored_version(ROOT, "v9")

    # Before the manifest is looked for, and then the mark.
    store.plan({}, {min(files) - 2: lambda: storage.create(f"{ROOT}/versions/v9/manifest.json", manifest.to_bytes())})
    fates = {each.path: each for each in clock.gc()}
    assert fates["work/v9"].why == ("it was published meanwhile",)
    assert {f"versions/v9/{each.path}" for each in manifest.files} <= store.names()
    assert "v9" in look(ROOT).whole
    assert not any(goes(name) for name in store.names() if name.startswith(("versions/v0/", "work/v9/files/")))
