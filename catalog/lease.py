"""A lock that a dead run cannot hold for ever: a small file that is taken, renewed and given back by compare-and-swap.

Whoever holds it says so again and again. A lease that ran out may be taken by another, and so may one whose process is
known to have ended. It keeps two runs from doing the same work; that they do no harm if they do, other things see to.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import ConflictError, IntegrityError, LockedError, UsageError
from catalog.process_identity import ProcessIdentity

SCHEMA_VERSION = 1
# So often does a holder say that it is still there, within one lease.
_RENEWALS = 3
_TRIES = 100


@dataclass(frozen=True)
class Hold:
    """What the file says.

    Attributes:
        run: name of the run that holds it.
        process: of the run.
        since: when it was taken, seconds since 1970.
        until: when the lease runs out, unless it is renewed.
        released: whether it was given back.
    """

    run: str
    process: ProcessIdentity
    since: float
    until: float
    released: bool = False

    def to_bytes(self) -> bytes:
        value = {
            "schema_version": SCHEMA_VERSION,
            "run": self.run,
            **asdict(self.process),
            "since": _text(self.since),
            "until": _text(self.until),
            "released": self.released,
        }
        return canonical_json.dump(value)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Hold:
        """Raises IntegrityError or UsageError naming `where`."""

        def build(value: dict[str, Any]) -> Hold:
            _check_schema(value, where)
            host, boot, namespace, started = (str(value[name]) for name in ("host", "boot", "namespace", "started"))
            process = ProcessIdentity(host, boot, namespace, int(value["pid"]), started)
            since, until = (datetime.datetime.fromisoformat(value[name]).timestamp() for name in ("since", "until"))
            return cls(str(value["run"]), process, since, until, bool(value["released"]))

        return canonical_json.parse(data, where, build)

    def is_free(self, now: float) -> bool:
        """Whether another may take it."""
        return self.released or now >= self.until or self.process.is_dead()

    def __str__(self) -> str:
        who = f"run {self.run}, process {self.process.pid} on {self.process.host}"
        since, until = _text(self.since, "seconds"), _text(self.until, "seconds")
        return f"{who}, since {since}; its lease ends at {until} unless it is renewed"


@dataclass
class Lease:
    """One contender for a lock.

    Attributes:
        url: of the file.
        run: name of the contender's run.
        seconds: that the lock is taken for, and renewed for.
        clock: seconds since 1970.
        process: that holds it.
    """

    url: str
    run: str
    seconds: float
    clock: Callable[[], float] = time.time
    process: ProcessIdentity = field(default_factory=ProcessIdentity.own)
    held: Hold | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._token: str | None = None
        self._guard = threading.Lock()

    def take(self) -> Hold | None:
        """Takes the lock.

        Returns:
            The hold of a run that ended without giving it back; None where there was none.

        Raises:
            LockedError: another run holds it.
            UsageError: a later version of catalog-indexer wrote it.
        """
        for _ in range(_TRIES):
            data, token = storage.read_with_token(self.url)
            there, now = _read(data, self.url), self.clock()
            if there is not None and not there.is_free(now):
                raise LockedError(f"another run is under way, as {storage.redact(self.url)} says: {there}")
            hold = Hold(self.run, self.process, now, now + self.seconds)
            try:
                self._write(hold, token)
            except ConflictError:
                continue  # Another contender was faster: it may hold it now.
            return there if there is not None and not there.released else None
        raise LockedError(f"{storage.redact(self.url)} was changed by others {_TRIES} times; run again")

    def renew(self) -> None:
        """Begins the lease anew; also one that has run out and that nobody took.

        Raises:
            LockedError: another run has taken it, for this one did not renew it in time.
        """
        with self._guard:
            while self.held is not None:
                try:
                    self._write(replace(self.held, until=self.clock() + self.seconds), self._token)
                    return
                except ConflictError:
                    data, token = storage.read_with_token(self.url)
                    try:
                        there = _read(data, self.url)
                    except UsageError:
                        there = None  # Of a later version: another's.
                    if there is not None and (there.run, there.released) == (self.run, False):
                        self._token = token  # It was written, and the answer was lost.
                    else:
                        self.held = None
            raise LockedError(
                f"run {self.run} did not renew its lease of {storage.redact(self.url)} in time, another run took it, "
                "and this one stops here"
            )

    def release(self) -> None:
        """Gives the lock back, if it is still held."""
        with self._guard:
            if self.held is not None:
                hold, self.held = self.held, None
                with contextlib.suppress(ConflictError):
                    given_back = replace(hold, until=self.clock(), released=True)
                    storage.compare_and_swap(self.url, given_back.to_bytes(), self._token)

    def _write(self, hold: Hold, token: str | None) -> None:
        """Raises ConflictError where the file is not the one any more that `token` was read from."""
        data = hold.to_bytes()
        storage.compare_and_swap(self.url, data, token)
        there, self._token = storage.read_with_token(self.url)
        if there != data:
            raise ConflictError(f"{self.url} was taken by another run")
        self.held = hold


@contextlib.contextmanager
def holding(lease: Lease, say: Callable[[str], None] = lambda line: None) -> Iterator[Lease]:
    """Holds the lock while the body runs, renewed from another thread. Raises LockedError where another run has it."""
    before = lease.take()
    if before is not None:
        say(f"the lock was taken over from a run that ended without giving it back: {before}")
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(lease.seconds / _RENEWALS):
            try:
                lease.renew()
            except LockedError as lost:  # Who lost the lease is told when it asks.
                say(str(lost))
                return
            except OSError:
                pass  # A store that does not answer for now may do so next time.
            except Exception as error:
                say(f"the lock could not be renewed, which is tried again: {_named(error)}")

    renewer = threading.Thread(target=renew, name="lease", daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        stop.set()
        renewer.join()
        try:
            lease.release()
        except OSError:
            pass  # It runs out by itself.
        except Exception as error:
            say(f"the lock could not be given back, and runs out by itself: {_named(error)}")


def _read(data: bytes | None, url: str) -> Hold | None:
    """What is there. A file that nobody can read is held by nobody."""
    if data is None:
        return None
    try:
        return Hold.from_bytes(data, url)
    except IntegrityError:
        return None


def _check_schema(value: dict[str, Any], where: str) -> None:
    """Raises IntegrityError, or UsageError for a later schema version."""
    version = value.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise IntegrityError(f"{where} is damaged: it has no schema version")
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"{storage.redact(where)} has schema version {version}, of a later version of catalog-indexer; this one "
            f"reads {SCHEMA_VERSION}: run that one, or delete the file when no night is under way"
        )


def _named(error: Exception) -> str:
    return storage.redact_text(f"{type(error).__name__}: {error}")


def _text(seconds: float, exact_to: str = "microseconds") -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec=exact_to)
