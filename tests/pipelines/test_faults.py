"""Nothing is lost, doubled or half visible, whatever the store and the machines do to the embed job."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from catalog import storage
from catalog.embedding_file import read_file
from catalog.errors import CatalogIndexerError, ConflictError
from catalog.rejects import read_rejects
from catalog.snapshot import list_snapshots, read_snapshot
from catalog.source import CatalogSource
from catalog.storage.retry import Retrier, RetryPolicy
from encoders.decode import DecodeLimits
from encoders.image_loader import ImageLoader
from encoders.registry import load_encoder
from pipelines.embed import EmbedConfig
from tests.catalog.fault_store import Crash, Fault, FaultStore
from tests.conftest import draw_picture
from tests.pipelines.without_beam import embed_without_beam

ROOT = "memory://shop"
STORE = f"{ROOT}/embeddings"
CONFIG = EmbedConfig(
    CatalogSource((f"{ROOT}/catalog.csv",)), STORE, "color-histogram", partitions=2, threads=1, may_lose=1.0
)
BROKEN = -1


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultStore:
    found = FaultStore()
    monkeypatch.setattr(storage, "store_for", lambda url: found)
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    return found


def picture_bytes(seed: int) -> bytes:
    if seed == BROKEN:
        return b"<html>"
    sink = io.BytesIO()
    draw_picture(seed, (12, 10)).save(sink, "PNG")
    return sink.getvalue()


_vectors: dict[int, np.ndarray] = {}


def vector_of(seed: int) -> np.ndarray:
    """float16 [256]: what must be stored for a picture."""
    if seed not in _vectors:
        encoder = load_encoder("color-histogram")
        pixels = ImageLoader(encoder.info.input_size, DecodeLimits()).load_bytes(picture_bytes(seed)).pixels
        _vectors[seed] = encoder.encode(pixels[None])[0].astype(np.float16)
    return _vectors[seed]


class Shop:
    """A catalog in a store: items with the seed of their picture, None for a picture that is not there."""

    def __init__(self, store: FaultStore, items: dict[str, int | None]) -> None:
        self.store = store
        self.items = dict(items)
        for item in items:
            self._draw(item)
        self._write()

    def put(self, item: str, seed: int | None) -> None:
        self.items[item] = seed
        self._draw(item)
        self._write()

    def drop(self, item: str) -> None:
        del self.items[item]
        self._write()

    def _draw(self, item: str) -> None:
        url, seed = f"{ROOT}/{item}.png", self.items[item]
        if seed is None:
            self.store.objects.pop(url, None)
        else:
            self.store._put(url, picture_bytes(seed))

    def _write(self) -> None:
        lines = [f"{item},{item}.png,{len(item)}" for item in self.items]
        self.store._put(f"{ROOT}/catalog.csv", "\n".join(["item_id,image,size", *lines, ""]).encode())


def check_history(store: FaultStore, seen: dict[str, bytes]) -> None:
    """Snapshots are numbered without a gap, each after the one before, never changed, and complete."""
    store.plan({})
    numbers = list_snapshots(STORE)
    assert numbers == list(range(1, len(numbers) + 1))
    for number in numbers:
        snapshot = read_snapshot(STORE, number)
        assert snapshot.parent == (number - 1 or None)
        url = f"{STORE}/snapshots/{number:06d}.json"
        assert seen.setdefault(url, store.objects[url][0]) == store.objects[url][0]
        for entry in snapshot.files:
            data = store.objects[f"{STORE}/{entry.path}"][0]
            assert hashlib.sha256(data).hexdigest() == entry.sha256
        for rejects in snapshot.rejects:
            data = store.objects[f"{STORE}/{rejects.path}"][0]
            assert hashlib.sha256(data).hexdigest() == rejects.sha256


def check_outcome(items: dict[str, int | None]) -> None:
    """The newest snapshot has every row of the catalog in exactly one place, with the vector of its picture."""
    snapshot = read_snapshot(STORE, list_snapshots(STORE)[-1])
    places: list[str] = []
    for entry in snapshot.files:
        table = read_file(storage.join(STORE, entry.path))
        for row in table.to_pylist():
            if row["item_id"] not in entry.removed:
                places.append(row["item_id"])
                seed = items[row["item_id"]]
                assert seed not in (None, BROKEN)
                assert np.array_equal(np.array(row["embedding"], np.float16), vector_of(seed))
    for rejects in snapshot.rejects:
        for row in read_rejects(storage.join(STORE, rejects.path)).to_pylist():
            places.append(row["item_id"])
            assert row["reason"] == {None: "not_found", BROKEN: "unsupported_format"}[items[row["item_id"]]]
    assert sorted(places) == sorted(items)
    assert snapshot.counts.rows == len(items)
    assert snapshot.vectors == snapshot.counts.embedded + snapshot.counts.reused


SECOND_NIGHT = {"a": 1, "bb": 20, "c": BROKEN, "d": None, "e": 5, "f": 6}


def night(store: FaultStore) -> Shop:
    """A shop whose second night has something of everything: new, changed, gone, broken, untouched."""
    shop = Shop(store, {"a": 1, "bb": 2, "c": 3, "d": 4, "e": 5, "gone": 7})
    embed_without_beam(CONFIG)
    for item, seed in SECOND_NIGHT.items():
        if shop.items.get(item, "new") != seed:
            shop.put(item, seed)
    shop.drop("gone")
    return shop


def published(store: FaultStore) -> dict[str, object]:
    """What a reader sees: snapshots without what they cost, and files."""
    found: dict[str, object] = {}
    for url, (data, _) in store.objects.items():
        if "/snapshots/" in url:
            found[url] = {name: value for name, value in json.loads(data).items() if name != "cost"}
        elif "/files/" in url:
            found[url] = data
    return found


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_operation_of_a_night_changes_nothing_in_the_end(store: FaultStore, fault: Fault) -> None:
    night(store)
    begin = dict(store.objects)
    store.plan({})
    embed_without_beam(CONFIG)
    operations, expected = store.operations, published(store)
    assert operations > 30
    struck = 0
    for number in range(operations + 3):
        store.objects = dict(begin)
        store.plan({number: fault})
        try:
            embed_without_beam(CONFIG)
        except Crash:
            struck += 1
            check_history(store, {})  # What a reader sees meanwhile.
            embed_without_beam(CONFIG)
        check_history(store, {})
        check_outcome(SECOND_NIGHT)
        assert published(store) == expected, f"{fault} at operation {number}"
    assert struck == 0 if fault in (Fault.LOST_ANSWER, Fault.REFUSED) else struck >= operations - 3


def test_another_run_at_any_operation_of_a_night_loses_nothing(store: FaultStore) -> None:
    night(store)
    begin = dict(store.objects)
    store.plan({})
    embed_without_beam(CONFIG)
    operations = store.operations
    for number in range(operations):
        store.objects = dict(begin)
        finished: list[dict] = []
        store.plan({}, {number: lambda finished=finished: finished.append(embed_without_beam(CONFIG))})
        try:
            embed_without_beam(CONFIG)
        except (ConflictError, FileNotFoundError):
            assert finished
        check_history(store, {})
        check_outcome(SECOND_NIGHT)


class Nights(RuleBasedStateMachine):
    """Nights of a shop whose catalog changes and whose runs are killed, hindered and doubled."""

    @initialize(seeds=st.lists(st.integers(0, 5), min_size=1, max_size=6))
    def open_shop(self, seeds: list[int]) -> None:
        self.store = FaultStore()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(storage, "store_for", lambda url: self.store)
        self.patch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=4), sleep=lambda _: None))
        self.shop = Shop(self.store, {f"item-{number}": seed for number, seed in enumerate(seeds)})
        self.seen: dict[str, bytes] = {}

    @rule(number=st.integers(0, 9), seed=st.sampled_from([0, 1, 2, 3, 4, 5, BROKEN, None]))
    def put(self, number: int, seed: int | None) -> None:
        self.shop.put(f"item-{number}", seed)

    @precondition(lambda self: len(self.shop.items) > 1)
    @rule(choice=st.integers(0, 99))
    def drop(self, choice: int) -> None:
        self.shop.drop(sorted(self.shop.items)[choice % len(self.shop.items)])

    @rule()
    def run(self) -> None:
        self.store.plan({})
        embed_without_beam(CONFIG)
        check_outcome(self.shop.items)

    @rule(
        faults=st.dictionaries(st.integers(0, 80), st.sampled_from([Fault.LOST_ANSWER, Fault.REFUSED]), max_size=6),
        crash=st.none() | st.tuples(st.integers(0, 80), st.sampled_from([Fault.CRASH_BEFORE, Fault.CRASH_AFTER])),
    )
    def run_with_faults(self, faults: dict[int, Fault], crash: tuple[int, Fault] | None) -> None:
        self.store.plan({**faults, **({crash[0]: crash[1]} if crash else {})})
        try:
            embed_without_beam(CONFIG)
        except Crash:
            return
        except OSError:
            assert len(faults) >= 4  # As many in a row as one operation is tried.
            return
        self.store.plan({})
        check_outcome(self.shop.items)

    @rule(at=st.integers(0, 80), number=st.integers(0, 9), seed=st.integers(0, 5), change=st.booleans())
    def run_two_at_once(self, at: int, number: int, seed: int, change: bool) -> None:
        """The second begins and ends in the middle of the first, after the catalog has changed or not."""

        def second() -> None:
            if change:
                self.shop.put(f"item-{number}", seed)
            embed_without_beam(CONFIG)

        self.store.plan({}, {at: second})
        try:
            embed_without_beam(CONFIG)
        except (ConflictError, FileNotFoundError):
            assert self.store.operations > at
        except CatalogIndexerError:  # The catalog was replaced between the look at it and the work.
            assert change

    @invariant()
    def history_is_linear_and_whole(self) -> None:
        if hasattr(self, "seen"):
            check_history(self.store, self.seen)

    def teardown(self) -> None:
        if hasattr(self, "shop"):
            try:
                self.run()
                check_history(self.store, self.seen)
            finally:
                self.patch.undo()


TestNights = Nights.TestCase
TestNights.settings = settings(
    max_examples=150, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
