"""A fault at any storage operation of publish, promote and rollback: the channel points to a whole version, always."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import storage
from catalog.channel import read_channel, write_channel
from catalog.errors import CatalogIndexerError
from catalog.manifest import Manifest, read_manifest
from catalog.storage.retry import Retrier, RetryPolicy
from catalog.version_log import logged, read_log
from index_builder.publishing.promote import Request, promote, rollback, settle
from index_builder.publishing.publish import log_published, publish
from index_builder.publishing.verify import verify
from tests.catalog.fault_store import Crash, Fault, FaultStore
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

ROOT = "memory://artifacts/shop"
_VERSIONS = ("v1", "v2", "v3")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FaultStore:
    """v1 and v2 have been on prod, which is on v2; the files of v3 are stored, and its manifest is not."""
    for version in _VERSIONS:
        publish_version(tmp_path, clustered(60, 4), "cosine", "Flat", {"nprobe": 0, "rerank": 0}, version=version)
    found = FaultStore()
    found.immutable = ("/versions/", "/log/")
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    for path in sorted((tmp_path / "shop").rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            found.objects[f"{ROOT}/{path.relative_to(tmp_path / 'shop')}"] = (path.read_bytes(), 1)
    real = storage._store
    monkeypatch.setattr(storage, "store_for", lambda url: found if url.startswith("memory:") else real("file"))
    write_channel(ROOT, read_channel(ROOT, "prod").rolled_back("v2", ""))
    write_channel(ROOT, replace(read_channel(ROOT, "prod"), moves=()))
    manifest = read_manifest(ROOT, "v3")
    found.objects[f"{ROOT}/draft"] = (replace(manifest, parent="v2", created_at="2026-02-02T00:00:00").to_bytes(), 1)
    for gone in (f"{ROOT}/versions/v3/manifest.json", f"{ROOT}/log/000003.json"):
        del found.objects[gone]
    return found


def publish_and_settle() -> None:
    """As a build ends; again, as the same command does after a crash."""
    draft = Manifest.from_bytes(storage.read_bytes(f"{ROOT}/draft"), "draft")
    there = storage.exists(f"{ROOT}/versions/v3/manifest.json")
    if not there:
        publish(ROOT, draft)
    pointer = log_published(ROOT, "v3")
    if there:
        promote(ROOT, pointer, Request("prod"))
    else:
        settle(ROOT, read_manifest(ROOT, "v3"), pointer, Request("prod"))


def promote_an_earlier_version() -> None:
    pointer = logged(ROOT, "v1")
    assert pointer is not None
    promote(ROOT, pointer, Request("prod"))


def roll_back() -> None:
    rollback(ROOT, "prod", reason="wrong prices")


WORK: dict[str, tuple[Callable[[], None], str]] = {
    "publish": (publish_and_settle, "v3"),
    "promote": (promote_an_earlier_version, "v1"),
    "rollback": (roll_back, "v1"),
}


def served() -> str:
    pointer = read_channel(ROOT, "prod").pointer
    assert pointer is not None
    return verify(ROOT, pointer).version


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("name", WORK)
def test_whatever_happens_at_any_operation_the_channel_is_on_a_whole_version(
    store: FaultStore, name: str, fault: Fault
) -> None:
    work, wanted = WORK[name]
    before = dict(store.objects)
    work()
    count = store_operations(store, before, work)
    assert count >= 3
    for number in range(count):
        store.objects = dict(before)
        store.plan({number: fault})
        with contextlib.suppress(Crash):
            work()
        store.plan({})
        after = served()
        assert after in ("v2", wanted), number
        assert [entry.sequence for entry in read_log(ROOT)] == list(range(1, len(read_log(ROOT)) + 1))
        if after != wanted:
            assert fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER), number
            work()
        assert served() == wanted, number
        channel = read_channel(ROOT, "prod")
        assert [move.version for move in channel.moves] == [wanted], number
        assert len([entry for entry in read_log(ROOT) if entry.version == wanted]) == 1


def store_operations(store: FaultStore, before: dict[str, tuple[bytes, int]], work: Callable[[], None]) -> int:
    """Of an undisturbed run."""
    store.objects = dict(before)
    store.plan({})
    work()
    return store.operations


def pairs() -> Iterator[tuple[str, str]]:
    for one in WORK:
        for other in WORK:
            if one != other:
                yield one, other


@pytest.mark.parametrize(("one", "other"), list(pairs()))
def test_another_who_moves_the_channel_at_any_moment_is_seen_and_nothing_is_lost(
    store: FaultStore, one: str, other: str
) -> None:
    before = dict(store.objects)
    count = store_operations(store, before, WORK[one][0])
    for number in range(count):
        store.objects = dict(before)
        store.plan({}, {number: WORK[other][0]})
        told = None
        try:
            WORK[one][0]()
        except CatalogIndexerError as error:
            told = error
        store.plan({})
        channel = read_channel(ROOT, "prod")
        # A rollback that comes second goes back to where the other one came from.
        back = {"v2"} if [move.action for move in channel.moves] == ["promote", "rollback"] else set()
        assert served() in {WORK[one][1], WORK[other][1]} | back, number
        # The moves follow one another: whoever lost was told, and has not moved the channel.
        assert [move.came_from for move in channel.moves] == ["v2", *(move.version for move in channel.moves)][:-1]
        assert len(channel.moves) == (1 if told else 2) or WORK[one][1] == WORK[other][1], number
