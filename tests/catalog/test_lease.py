"""Never two holders inside their leases, and a dead one is always overcome."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from catalog import storage
from catalog.errors import LockedError, UsageError
from catalog.lease import Hold, Lease
from catalog.process_identity import ProcessIdentity
from catalog.storage.retry import Retrier, RetryPolicy
from tests.catalog.fault_store import Crash, Fault, FaultStore

URL = "memory://a/shop/locks/nightly.json"
ELSEWHERE = ProcessIdentity("elsewhere", "boot", "pid:[1]", 7, "100")
GONE = ProcessIdentity(**{**vars(ProcessIdentity.own()), "started": "1"})


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultStore:
    found = FaultStore()
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    monkeypatch.setattr(storage, "store_for", lambda url: found)
    return found


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def lease(run: str, clock: Clock, process: ProcessIdentity = ELSEWHERE) -> Lease:
    return Lease(URL, run, 60.0, clock, process)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rivals(store: FaultStore, clock: Clock) -> tuple[Lease, Lease]:
    """A run that holds the lock, and another one."""
    first, second = lease("one", clock), lease("two", clock)
    assert first.take() is None
    return first, second


def stored() -> Hold:
    data, _ = storage.read_with_token(URL)
    assert data is not None
    return Hold.from_bytes(data, URL)


def test_a_lock_is_held_until_it_is_given_back(rivals: tuple[Lease, Lease]) -> None:
    first, second = rivals
    with pytest.raises(LockedError) as refused:
        second.take()
    assert str(refused.value) == (
        f"another run is under way, as {URL} says: run one, process 7 on elsewhere, since 1970-01-12T13:46:40+00:00; "
        "its lease ends at 1970-01-12T13:47:40+00:00 unless it is renewed"
    )
    assert refused.value.exit_code == 4
    first.release()
    assert second.take() is None
    assert stored().run == "two"


def test_a_lease_that_ran_out_is_taken_over_and_one_that_is_renewed_is_not(
    rivals: tuple[Lease, Lease], clock: Clock
) -> None:
    first, second = rivals
    clock.now += 59
    first.renew()
    clock.now += 59
    with pytest.raises(LockedError):
        second.take()
    clock.now += 1
    before = second.take()
    assert before is not None
    assert before.run == "one"


def test_a_holder_that_lost_its_lease_is_told_and_does_not_touch_the_new_one(
    rivals: tuple[Lease, Lease], clock: Clock
) -> None:
    first, second = rivals
    clock.now += 100
    second.take()
    for _ in range(2):
        with pytest.raises(LockedError, match="did not renew its lease"):
            first.renew()
    first.release()
    assert (stored().run, stored().released) == ("two", False)


def test_a_lease_that_ran_out_and_that_nobody_took_is_renewed(rivals: tuple[Lease, Lease], clock: Clock) -> None:
    first, _ = rivals
    clock.now += 1_000
    first.renew()
    assert stored().until == clock.now + 60


def test_a_run_whose_process_has_ended_is_overcome_at_once(store: FaultStore, clock: Clock) -> None:
    lease("one", clock, GONE).take()
    before = lease("two", clock).take()
    assert before is not None
    assert before.run == "one"


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"schema_version": 1}'])
def test_a_file_that_nobody_can_read_is_held_by_nobody(store: FaultStore, damaged: bytes) -> None:
    storage.write(URL, damaged)
    lease("one", Clock()).take()
    assert stored().run == "one"


def test_a_lock_of_a_later_version_is_neither_taken_nor_read_wrongly(store: FaultStore, clock: Clock) -> None:
    mine = lease("one", clock)
    mine.take()
    later = Hold("two", ELSEWHERE, 0, 1).to_bytes().replace(b'"schema_version": 1', b'"schema_version": 2')
    storage.write(URL, later)
    with pytest.raises(LockedError, match="another run took it"):
        mine.renew()
    with pytest.raises(UsageError, match=f"^{URL} has schema version 2, of a later version .* reads 1: run that one"):
        lease("three", clock).take()
    mine.release()
    assert storage.read_bytes(URL) == later


def test_a_hold_is_read_as_it_was_written() -> None:
    hold = Hold("one", ELSEWHERE, 12.345678, 99.000001, released=True)
    assert Hold.from_bytes(hold.to_bytes(), URL) == hold


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.REFUSED])
def test_a_holder_survives_a_store_that_loses_answers(store: FaultStore, clock: Clock, fault: Fault) -> None:
    for strikes in range(8):
        first = lease(f"run-{strikes}", clock)
        store.plan({strikes: fault})
        first.take()
        clock.now += 10
        first.renew()
        store.plan({})
        assert stored().run == f"run-{strikes}"
        first.release()
        assert stored().released


def test_a_renewal_whose_outcome_was_never_told_is_found_to_have_been_made(store: FaultStore, clock: Clock) -> None:
    first = lease("one", clock)
    first.take()
    clock.now += 10
    store.plan(dict.fromkeys((1, 2, 3), Fault.REFUSED))  # It is written; nobody learns the token.
    with pytest.raises(OSError, match="503"):
        first.renew()
    store.plan({})
    first.renew()
    assert stored().until == clock.now + 60


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_contender_that_dies_at_any_operation_holds_no_longer_than_its_lease(store: FaultStore, fault: Fault) -> None:
    for strike in range(8):
        clock = Clock()
        store.plan({strike: fault})
        try:
            doomed = lease("doomed", clock)
            doomed.take()
            doomed.renew()
            doomed.release()
        except Crash:
            pass
        else:
            assert strike > 5
        store.plan({})
        clock.now += 60
        heir = lease("heir", clock)
        heir.take()
        assert stored().run == "heir"
        heir.release()


class Contenders(RuleBasedStateMachine):
    """Runs on other machines: they take, renew, stop for a while, die and give back in any order."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.alive, self.count = Clock(), [], 0
        storage.store_for(URL).objects.clear()  # type: ignore[attr-defined]

    def inside(self) -> list[Lease]:
        """Those that believe in their lease, by their own clock."""
        return [each for each in self.alive if each.held is not None and self.clock() < each.held.until]

    @initialize(target=runs)
    def begin(self) -> Lease:
        return self.start()

    @rule(target=runs)
    def start(self) -> Lease:
        self.count += 1
        self.alive.append(lease(f"run-{self.count}", self.clock))
        return self.alive[-1]

    @rule(run=runs)
    def take(self, run: Lease) -> None:
        if run not in self.alive or run.held is not None:
            return
        holders, data = self.inside(), storage.read_with_token(URL)[0]
        try:
            run.take()
        except LockedError:
            # Only a lease that has not run out turns somebody away.
            assert data is not None
            assert self.clock() < Hold.from_bytes(data, URL).until
        else:
            assert not holders

    @rule(run=runs)
    def renew(self, run: Lease) -> None:
        if run in self.alive and run.held is not None:
            try:
                run.renew()
            except LockedError:
                assert run.held is None

    @rule(run=runs)
    def release(self, run: Lease) -> None:
        if run in self.alive:
            run.release()

    @rule(run=runs)
    def die(self, run: Lease) -> None:
        if run in self.alive:
            self.alive.remove(run)

    @rule(seconds=st.sampled_from([0.0, 1.0, 20.0, 59.0, 60.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def at_most_one_is_inside_its_lease(self) -> None:
        assert len(self.inside()) <= 1

    def teardown(self) -> None:
        """Whatever has happened: after one lease in which nobody renewed, the next contender has the lock."""
        self.clock.now += 60
        lease("last", self.clock).take()
        assert stored().run == "last"


def test_whatever_happens_one_run_at_most_is_inside_its_lease_and_the_next_gets_it(store: FaultStore) -> None:
    run_state_machine_as_test(Contenders, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))


@pytest.fixture(params=["local", "gcs", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A lock in each kind of store."""
    folder = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return f"{folder}/locks/nightly.json"


def test_of_eight_contenders_at_once_one_wins_whether_the_lock_is_new_given_back_or_run_out(url: str) -> None:
    for hour, released in enumerate((False, True, False, False)):
        clock, barrier = Clock(), threading.Barrier(8)
        clock.now += 3_600 * hour
        contenders = [Lease(url, f"{hour}-{number}", 60, clock, ELSEWHERE) for number in range(8)]

        def contend(contender: Lease, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                contender.take()
            except LockedError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(contend, contenders))
        assert sum(won) == 1
        winner = contenders[won.index(True)]
        winner.renew()
        if released:
            winner.release()
