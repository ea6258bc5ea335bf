from __future__ import annotations

import errno
import gc
import itertools
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog import storage
from catalog.errors import UsageError
from catalog.storage.base import TransientError
from index_builder import catalog_index
from index_builder.catalog_index import CatalogIndex
from index_builder.consuming import download as download_module
from index_builder.consuming.live_index import LiveIndex
from index_builder.publishing.promote import rollback
from tests.index_builder.consuming.shops import DIMENSION, flip, point_channel, publish_shop, upload
from tests.index_builder.vectors import clustered

QUERIES = clustered(30, DIMENSION, seed=77)
# A look by itself comes never: the tests look.
NEVER = 1e6


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """v1 on the channel, v2 and v3 published and not on it."""
    publish_shop(tmp_path, "v1", seed=1)
    for version, seed in (("v2", 2), ("v3", 3)):
        publish_shop(tmp_path, version, seed=seed, move_channel=False)
    return tmp_path


@pytest.fixture
def live(shop: Path) -> Iterator[LiveIndex]:
    with CatalogIndex.open(str(shop), "shop").watch(every=NEVER) as watched:
        yield watched


def answers(shop: Path, version: str) -> Any:
    return CatalogIndex.open(str(shop), "shop", version=version).search(QUERIES)


def path_of(shop: Path, version: str, name: str) -> Path:
    return shop / "shop" / "versions" / version / name


def test_it_goes_on_to_what_the_channel_points_to_and_back(shop: Path, live: LiveIndex) -> None:
    assert (live.version, live.poll(), live.swaps) == ("v1", False, 0)
    assert live.search(QUERIES) == answers(shop, "v1")
    point_channel(shop, "v2")
    assert live.version == "v1"  # Until somebody looks.
    assert (live.poll(), live.version, live.swaps) == (True, "v2", 1)
    assert live.search(QUERIES) == answers(shop, "v2")
    rollback(str(shop / "shop"), "prod")
    assert (live.poll(), live.version, live.swaps) == (True, "v1", 2)
    assert live.search(QUERIES) == answers(shop, "v1")
    assert (live.failures, live.last_failure, live.polls) == (0, None, 3)
    assert live.last_poll == pytest.approx(time.time(), abs=60)
    assert live.age_seconds > 86_400 * 30
    assert 0 < live.load_seconds < 60


def test_it_answers_whatever_an_index_answers(shop: Path, live: LiveIndex) -> None:
    index = CatalogIndex.open(str(shop), "shop")
    item_id = index.items().item_id(3)
    assert live.search(QUERIES[0], 3, where={"colour": "red"}) == index.search(QUERIES[0], 3, where={"colour": "red"})
    assert live.search_item(item_id, 4, block=[item_id]) == index.search_item(item_id, 4, block=[item_id])
    assert live.item(item_id) == index.item(item_id)
    np.testing.assert_array_equal(live.vector_of(item_id), index.vector_of(item_id))
    assert live.manifest == index.manifest
    with pytest.raises(UsageError, match="has no measured operating points"):
        live.point_for(0.5)
    with live.hold() as held:
        assert held.manifest == index.manifest


def damage_bit(shop: Path) -> None:
    flip(path_of(shop, "v2", "index.faiss"), 9_999)


def damage_manifest(shop: Path) -> None:
    flip(path_of(shop, "v2", "manifest.json"), 99)


def take_file(shop: Path) -> None:
    path_of(shop, "v2", "items.arrow").unlink()


def cut_file(shop: Path) -> None:
    path = path_of(shop, "v2", "vectors.npy")
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [damage_bit, damage_manifest, take_file, cut_file])
def test_a_version_that_is_not_whole_is_not_served_and_a_later_one_is(
    shop: Path, live: LiveIndex, harm: Callable[[Path], None]
) -> None:
    right = answers(shop, "v1")
    harm(shop)
    point_channel(shop, "v2")
    assert (live.poll(), live.version, live.failures) == (False, "v1", 1)
    assert live.failures_by_kind["corrupt"] == 1
    assert "version v2: " in (live.last_failure or "")
    assert live.search(QUERIES) == right
    point_channel(shop, "v3")
    assert (live.poll(), live.version, live.failures, live.last_failure) == (True, "v3", 1, None)


def test_a_version_that_answers_otherwise_than_when_it_was_evaluated_is_not_served(
    shop: Path, live: LiveIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_channel(shop, "v2")
    other = catalog_index.read_golden(path_of(shop, "v3", "golden.npz"))
    monkeypatch.setattr(catalog_index, "read_golden", lambda path: other)
    assert not live.poll()
    assert "version v2 answers otherwise than when it was evaluated: golden query 0" in (live.last_failure or "")
    assert (live.version, live.failures_by_kind["corrupt"]) == ("v1", 1)


def test_a_version_of_another_encoder_is_not_served(tmp_path: Path) -> None:
    publish_shop(tmp_path, "v1", seed=1)
    with CatalogIndex.open(str(tmp_path), "shop").watch(every=NEVER) as live:
        publish_shop(tmp_path, "v2", seed=2, encoder="e" * 64)
        assert not live.poll()
        assert live.failures_by_kind["encoder"] == 1
        assert "the encoder with fingerprint ffffffffffff is not the one that version v2" in (live.last_failure or "")
        assert live.version == "v1"


def test_a_store_that_is_down_is_a_failure_and_no_more(
    shop: Path, live: LiveIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = answers(shop, "v1")

    def down(url: str) -> None:
        raise TransientError("503: down")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_with_token", down)
        assert not live.poll()
    assert (live.failures_by_kind["store"], live.last_failure) == (1, "503: down")
    assert live.last_poll is None
    assert live.search(QUERIES) == right
    channel = shop / "shop" / "channels" / "prod.json"
    whole = channel.read_bytes()
    flip(channel, 200)
    assert not live.poll()
    channel.unlink()
    assert not live.poll()
    assert live.failures_by_kind == {"close": 0, "corrupt": 2, "disk": 0, "encoder": 0, "other": 0, "store": 1}
    assert "has no channel 'prod' any more" in (live.last_failure or "")
    channel.write_bytes(whole)
    assert not live.poll()
    assert live.last_failure is None


def test_a_full_disk_is_a_failure_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, url = tmp_path / "source", f"memory://{tmp_path.name}"
    publish_shop(source, "v1", seed=1)
    upload(source, url)
    with CatalogIndex.open(url, "shop", cache=tmp_path / "cache").watch(every=NEVER) as live:
        right = live.search(QUERIES)
        publish_shop(source, "v2", seed=2)
        upload(source, url)

        def full(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(download_module.os, "write", full)
            assert not live.poll()
        assert live.failures_by_kind["disk"] == 1
        assert live.search(QUERIES) == right
        live._failures.forget()  # As if its pause was over.
        assert live.poll()
        assert live.version == "v2"
    storage.delete_tree(url)


def test_a_bad_version_is_tried_again_after_pauses_that_grow(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    with CatalogIndex.open(str(shop), "shop").watch(every=300) as live:
        live._failures._clock = lambda: clock[0]
        whole = path_of(shop, "v2", "items.arrow").read_bytes()
        take_file(shop)
        point_channel(shop, "v2")
        tries = []
        for minute in range(0, 600, 5):
            clock[0] = 60.0 * minute
            before = live.failures
            live.poll()
            if live.failures > before:
                tries.append(minute)
        assert tries[:5] == [0, 10, 30, 70, 130]
        assert {later - earlier for earlier, later in itertools.pairwise(tries[4:])} == {60}
        path_of(shop, "v2", "items.arrow").write_bytes(whole)
        clock[0] += 3_600
        assert live.poll()
        assert live.version == "v2"


def test_a_search_that_is_under_way_ends_on_the_old_version_which_is_closed_then(
    shop: Path, live: LiveIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, closed = answers(shop, "v1"), []
    real = CatalogIndex.close
    monkeypatch.setattr(CatalogIndex, "close", lambda self: closed.append(self.manifest.version) or real(self))
    with live.hold() as index:
        point_channel(shop, "v2")
        assert live.poll()
        assert live.version == "v2"
        live.poll()
        assert closed == []
        assert index.search(QUERIES) == right
    deadline = time.monotonic() + 20
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed == ["v1"]


def test_an_old_version_that_cannot_be_closed_is_a_failure_and_the_watch_goes_on(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CatalogIndex.close

    def close(self: CatalogIndex) -> None:
        if self.manifest.version == "v1":
            raise OSError(errno.EMFILE, "Too many open files")
        real(self)

    monkeypatch.setattr(CatalogIndex, "close", close)
    with CatalogIndex.open(str(shop), "shop").watch(every=0.05) as live:
        for version in ("v2", "v3"):
            point_channel(shop, version)
            _wait_until(lambda expected=version: live.version == expected)
        _wait_until(lambda: live.last_failure is None)
        assert live.failures_by_kind["close"] == live.failures == 1
        point_channel(shop, "v1")
        _wait_until(lambda: live.version == "v1")
        with live.hold():
            point_channel(shop, "v2")
            assert live.poll() or live.version == "v2"
        _wait_until(lambda: live.failures == 2)
        assert live.search(QUERIES) == answers(shop, "v2")
        assert live._thread.is_alive()


def test_what_was_replaced_is_let_go(shop: Path, live: LiveIndex) -> None:
    with live.hold() as index:
        index.search(QUERIES)
        old = weakref.ref(index._searcher), weakref.ref(index._items._shards[0])
    del index
    gc.disable()
    try:
        point_channel(shop, "v2")
        assert live.poll()
        deadline = time.monotonic() + 20
        while any(each() is not None for each in old) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [each() for each in old] == [None, None]
    finally:
        gc.enable()


def test_it_looks_by_itself_at_moments_of_its_own(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    real = random.uniform
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or real(low, high))
    with CatalogIndex.open(str(shop), "shop").watch(every=0.05, jitter=0.5) as live:
        point_channel(shop, "v2")
        deadline = time.monotonic() + 20
        while live.version != "v2" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert live.version == "v2"
        while len(drawn) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert drawn[:3] == [(0, 0.05), (-0.5, 0.5), (-0.5, 0.5)]


def test_a_closed_one_answers_no_more_and_its_thread_ends(shop: Path) -> None:
    live = CatalogIndex.open(str(shop), "shop").watch(every=NEVER)
    live.close()
    live.close()
    for question in (lambda: live.search(QUERIES), live.poll):
        with pytest.raises(UsageError, match="the index is closed"):
            question()
    live._thread.join(20)
    assert not live._thread.is_alive()


def test_only_a_channel_can_be_watched(shop: Path) -> None:
    with pytest.raises(UsageError, match="only an index that was opened by a channel"):
        CatalogIndex.open(str(shop), "shop", version="v2").watch()


def test_a_watch_that_is_refused_leaves_the_index_as_it_was(shop: Path) -> None:
    index = CatalogIndex.open(str(shop), "shop")
    before = threading.active_count()
    wrong: list[dict[str, Any]] = [{"every": value} for value in (0, -1, np.nan, np.inf, 1e300, "300", None, True)]
    wrong += [{"jitter": value} for value in (1, -0.1, np.nan, "0.2")]
    for options in wrong:
        ((name, value),) = options.items()
        with pytest.raises(UsageError, match=rf"{name}={re.escape(repr(value))}.*: expected seconds, and a share"):
            index.watch(**options)
    assert index.search(QUERIES) == answers(shop, "v1")
    assert threading.active_count() == before
    with index.watch(every=np.float32(1e9), jitter=np.int64(0)) as live:  # Numbers all the same.
        assert live.search(QUERIES) == answers(shop, "v1")


def test_no_search_fails_through_publishes_and_rollbacks_and_none_is_answered_by_a_damaged_version(
    shop: Path,
) -> None:
    """Eight threads ask all the time, while versions come, are taken back, and are damaged."""
    right = {answers(shop, f"v{number}")[0][0].distance for number in (1, 2, 3)}
    root, wrong, asked, over = str(shop / "shop"), [], [0] * 8, threading.Event()
    for number, harm in enumerate(("flip", "delete", "cut")):
        publish_shop(shop, harm, seed=50 + number, move_channel=False)
    flip(path_of(shop, "flip", "index.faiss"), 12_345)
    path_of(shop, "delete", "items.arrow").unlink()
    path_of(shop, "cut", "vectors.npy").write_bytes(path_of(shop, "cut", "vectors.npy").read_bytes()[:-1])
    with CatalogIndex.open(str(shop), "shop").watch(every=0.01) as live:

        def ask(number: int) -> None:
            while not over.is_set():
                try:
                    found = live.search(QUERIES[0])[0].distance
                    if found not in right:
                        wrong.append(found)
                except Exception as error:
                    wrong.append(repr(error))
                asked[number] += 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            served = ["v1"]
            for step in ("v2", "flip", "v3", "back", "v1", "delete", "v2", "cut", "v3", "back"):
                failures = live.failures
                if step == "back":
                    rollback(root, "prod")
                    served.append(served[-2])
                elif step in ("v1", "v2", "v3"):
                    point_channel(shop, step)
                    served.append(step)
                else:
                    point_channel(shop, step)
                    _wait_until(lambda before=failures: live.failures > before)
                    assert live.version == served[-1]
                    rollback(root, "prod")
                _wait_until(lambda: live.version == served[-1])
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
        assert wrong == []
        assert min(asked) > 0
        assert live.swaps == len(served) - 1 == 7
        assert live.failures == live.failures_by_kind["corrupt"] >= 3


def _wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)
