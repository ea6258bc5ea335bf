"""Histories of nights, promotions, rollbacks, pins and collectors that die: what is needed is there, always."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from catalog import storage
from catalog.channel import channel_names, read_channel
from catalog.errors import CatalogIndexerError, UsageError
from catalog.storage.retry import Retrier, RetryPolicy
from catalog.version_log import logged
from index_builder.publishing.collect import collect
from index_builder.publishing.holdings import look
from index_builder.publishing.pins import pin, unpin
from index_builder.publishing.promote import move, rollback
from index_builder.publishing.reachable import DAY, HOUR, Retention
from tests.catalog.fault_store import Crash, Fault
from tests.index_builder.publishing.collected_store import ROOT, START, PiecewiseStore, check_whole, reachable
from tests.index_builder.publishing.made_versions import published_version, stored_version

CHANNELS = ("prod", "canary")


class Histories(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.store = PiecewiseStore()
        self.patch.setattr(storage, "store_for", lambda url: self.store)
        self.patch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
        self.now = START
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    def there(self) -> list[str]:
        return sorted(look(ROOT).whole)

    @rule(data=st.data(), channel=st.sampled_from([*CHANNELS, None]), needs=st.booleans())
    def publish(self, data: st.DataObject, channel: str | None, needs: bool) -> None:
        name = f"v{self.made}"
        self.made += 1
        parents = (data.draw(st.sampled_from(self.there())),) if needs and self.there() else ()
        with contextlib.suppress(CatalogIndexerError):
            published_version(ROOT, name, channel, needs=parents, created_at=self.now.isoformat(timespec="seconds"))

    @rule()
    def leave_a_build_off(self) -> None:
        name = f"v{self.made}"
        self.made += 1
        stored_version(ROOT, name)
        storage.write(f"{ROOT}/work/{name}/training.json", b"work")

    @precondition(lambda self: self.made)
    @rule(data=st.data(), channel=st.sampled_from(CHANNELS))
    def promote(self, data: st.DataObject, channel: str) -> None:
        pointer = logged(ROOT, f"v{data.draw(st.integers(0, self.made - 1))}")
        with contextlib.suppress(CatalogIndexerError):
            if pointer is not None:
                move(ROOT, read_channel(ROOT, channel), pointer, [])
                assert pointer.version in self.there()

    @rule(data=st.data(), channel=st.sampled_from(CHANNELS))
    def roll_back(self, data: st.DataObject, channel: str) -> None:
        earlier = [each.version for each in read_channel(ROOT, channel).earlier]
        with contextlib.suppress(CatalogIndexerError):
            rollback(ROOT, channel, data.draw(st.sampled_from([None, *earlier])))

    @precondition(lambda self: self.made)
    @rule(data=st.data(), lift=st.booleans())
    def pin_or_unpin(self, data: st.DataObject, lift: bool) -> None:
        manifest = look(ROOT).whole.get(f"v{data.draw(st.integers(0, self.made - 1))}")
        with contextlib.suppress(CatalogIndexerError):
            if manifest is not None:
                unpin(ROOT, manifest) if lift else pin(ROOT, manifest, "a reason")

    @rule(hours=st.sampled_from([0.5, 2, 30, 200]))
    def time_goes_by(self, hours: float) -> None:
        self.now += datetime.timedelta(hours=hours)

    @rule(
        keep=st.integers(1, 3),
        grace=st.sampled_from([HOUR, DAY]),
        young=st.sampled_from([0, DAY]),
        dies_at=st.none() | st.integers(0, 60),
        fault=st.sampled_from([Fault.CRASH_BEFORE, Fault.CRASH_AFTER]),
    )
    def gc(self, keep: int, grace: float, young: float, dies_at: int | None, fault: Fault) -> None:
        needed, log = reachable(), look(ROOT).order
        newest = [each for each in log if each in self.there()][-1:]
        self.store.plan({} if dies_at is None else {dies_at: fault})
        # Where nothing was ever published, that is said.
        with contextlib.suppress(Crash, *(() if log else (UsageError,))):
            collect(ROOT, Retention(keep, grace, young, 2 * DAY), delete=True, clock=lambda: self.now)
        self.store.plan({})
        check_whole({*needed, *newest})

    @invariant()
    def what_channels_point_to_is_whole_and_so_is_what_that_needs(self) -> None:
        if hasattr(self, "store"):
            check_whole(reachable())
            check_whole({str(read_channel(ROOT, name).pointer.version) for name in channel_names(ROOT)})  # type: ignore[union-attr]


Histories.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase
