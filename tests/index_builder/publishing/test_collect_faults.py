"""A fault at any storage operation of a collection, and anybody else between any two: what is needed stays whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from catalog import storage
from catalog.channel import Channel, read_channel, write_channel
from catalog.errors import CatalogIndexerError
from catalog.manifest import read_manifest
from catalog.version_log import logged
from index_builder.publishing.collect import collect
from index_builder.publishing.holdings import look
from index_builder.publishing.marks import keep_build_from_collection, read_marks
from index_builder.publishing.pins import pin
from index_builder.publishing.promote import Promotion, move, rollback
from index_builder.publishing.publish import publish
from tests.catalog.fault_store import Crash, Fault
from tests.index_builder.publishing.collected_store import (
    KEEP_ONE,
    REACHABLE,
    ROOT,
    PiecewiseStore,
    check_whole,
    goes,
    later,
    reachable,
)
from tests.index_builder.publishing.made_versions import published_version, stored_version

# Days after which what a collector that died was deleting is another one's.
TAKEN_OVER = 1.1 / 24


def gc(day: float) -> None:
    collect(ROOT, KEEP_ONE, delete=True, clock=lambda: later(day))


def test_what_nothing_needs_is_marked_first_and_deleted_after_its_grace(store: PiecewiseStore) -> None:
    assert reachable() == REACHABLE
    before = store.names()
    gc(0)
    assert store.names() == {*before, "collection.json"}
    gc(0.9)
    assert store.names() == {*before, "collection.json"}
    gc(1)
    # Codes wait for the build, which may use them, and the build for seven days without a change.
    assert before - store.names() == {name for name in before if name.startswith(("versions/v0/", "versions/v1/"))}
    gc(6.9)
    assert any(name.startswith("work/v9/") for name in store.names())
    gc(7)
    assert before - store.names() == {name for name in before if goes(name)}
    assert read_marks(ROOT)[0] == {}
    check_whole(REACHABLE)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("day", [0, 1, 7])
def test_a_collector_that_dies_at_any_operation_harms_nothing_and_the_next_one_ends_its_work(
    store: PiecewiseStore, day: int, fault: Fault
) -> None:
    for earlier in (each for each in (0, 1) if each < day):
        gc(earlier)
    before = dict(store.objects)
    store.plan({})
    gc(day)
    wanted, count = store.names(), store.operations
    assert count > 20
    for number in range(count):
        store.objects = dict(before)
        store.plan({number: fault})
        with contextlib.suppress(Crash):
            gc(day)
        store.plan({})
        assert set(look(ROOT).whole) >= REACHABLE
        check_whole(set(look(ROOT).whole))  # What is half deleted is no version.
        gc(day + TAKEN_OVER)
        assert store.names() == wanted, number
        check_whole(REACHABLE)


def promote_an_unneeded_version() -> Promotion:
    pointer = logged(ROOT, "v0")
    assert pointer is not None
    return move(ROOT, read_channel(ROOT, "prod"), pointer, [])


def promote_to_a_new_channel() -> Promotion:
    pointer = logged(ROOT, "v1")
    assert pointer is not None
    return move(ROOT, read_channel(ROOT, "summer"), pointer, [])


def roll_back() -> Channel:
    return rollback(ROOT, "prod")


def roll_back_to_an_unneeded_version() -> Channel:
    return rollback(ROOT, "prod", "v1")


def roll_back_twice() -> Channel:
    rollback(ROOT, "prod")
    return rollback(ROOT, "prod")


def pin_an_unneeded_version() -> object:
    return pin(ROOT, read_manifest(ROOT, "v1"), "the summer catalog")


def publish_a_child() -> object:
    return published_version(ROOT, "v7", needs=("v1",))


def collect_too() -> object:
    return gc(8)


ELSE: list[Callable[[], object]] = [
    promote_an_unneeded_version,
    promote_to_a_new_channel,
    roll_back,
    roll_back_to_an_unneeded_version,
    roll_back_twice,
    pin_an_unneeded_version,
    publish_a_child,
    collect_too,
]


@pytest.mark.parametrize("other", ELSE)
@pytest.mark.parametrize("day", [0, 1])
def test_whatever_somebody_begins_to_need_between_two_operations_stays_whole_or_is_refused(
    store: PiecewiseStore, day: int, other: Callable[[], object]
) -> None:
    for earlier in range(day):
        gc(earlier)
    before = dict(store.objects)
    store.plan({})
    gc(day)
    count, refused = store.operations, 0
    for number in range(count):
        store.objects = dict(before)
        told: list[CatalogIndexerError] = []

        def interrupt(told: list[CatalogIndexerError] = told) -> None:
            try:
                other()
            except CatalogIndexerError as error:
                told.append(error)

        store.plan({}, {number: interrupt})
        gc(day)
        store.plan({})
        needed = reachable()
        check_whole(needed | REACHABLE)
        if told:
            refused += 1
            assert any(why in str(told[0]) for why in ("is being deleted by gc", "was collected", "is missing")), number
        for day_after in (day + 1, 10):
            gc(day_after)
            check_whole(needed)
    if day == 0 or other in (roll_back, collect_too):
        assert refused == 0


@pytest.mark.parametrize("stored_before", [False, True])
@pytest.mark.parametrize("day", [0, 7])
def test_a_build_that_goes_on_between_two_operations_is_left_alone_or_told(
    store: PiecewiseStore, day: int, stored_before: bool
) -> None:
    """One that begins again, and one that stored its files long before and has only to publish."""
    manifest = stored_version(ROOT, "v9")
    gc(0)
    before = dict(store.objects)
    store.plan({})
    gc(day)
    count, outcomes = store.operations, set()
    for number in range(count):
        store.objects = dict(before)
        told: list[CatalogIndexerError] = []

        def go_on(told: list[CatalogIndexerError] = told) -> None:
            try:
                if not stored_before:
                    keep_build_from_collection(ROOT, "v9")
                    stored_version(ROOT, "v9")
                pointer = publish(ROOT, manifest)[1]
                move(ROOT, read_channel(ROOT, "prod"), pointer, [])
            except CatalogIndexerError as error:
                told.append(error)

        store.plan({}, {number: go_on})
        gc(day)
        store.plan({})
        outcomes.add(bool(told))
        check_whole({*REACHABLE, *(() if told else {"v9"})})
        if told:
            assert any(why in str(told[0]) for why in ("is being deleted by gc", "is not whole")), number
            assert "v9" not in look(ROOT).whole
        pointer = read_channel(ROOT, "prod").pointer
        assert pointer is not None
        assert pointer.version == ("v5" if told else "v9"), number
    assert outcomes == ({False, True} if day else {False})


def test_a_promotion_that_stood_still_since_it_took_the_mark_away_is_seen_by_the_last_look(
    store: PiecewiseStore,
) -> None:
    gc(0)
    before = dict(store.objects)
    store.plan({})
    gc(1)
    count, saved = store.operations, 0
    for number in range(count):
        store.objects = dict(before)
        late: list[bool] = []

        def end(late: list[bool] = late) -> None:
            deleting = b'"deleting"' in store.objects[f"{ROOT}/collection.json"][0]
            late.append(deleting or "versions/v0/manifest.json" not in store.names())
            pointer = logged(ROOT, "v0")
            assert pointer is not None
            write_channel(ROOT, read_channel(ROOT, "prod").promoted(pointer, {}))

        store.plan({}, {number: end})
        gc(1)
        store.plan({})
        whole = "v0" in look(ROOT).whole
        assert whole or late[0], number
        saved += whole and late[0]
        if whole:
            check_whole({"v0"})
            assert "versions/v0" not in read_marks(ROOT)[0] or not late[0]
    assert saved >= 2  # Between the mark and the reading of the channels.


def test_a_worker_that_stores_something_while_the_collector_looks_keeps_its_build(store: PiecewiseStore) -> None:
    gc(0)
    before = dict(store.objects)
    files = {name for name in store.names() if "/v9/" in name}
    store.plan({})
    gc(7)
    count = store.operations
    for number in range(count):
        store.objects = dict(before)
        late: list[bool] = []

        def work(late: list[bool] = late) -> None:
            late.append(b'"deleting"' in store.objects[f"{ROOT}/collection.json"][0])
            storage.write(f"{ROOT}/work/v9/truth/000004-000008.arrow", b"work")

        store.plan({}, {number: work})
        gc(7)
        store.plan({})
        assert late[0] or files <= store.names(), number
