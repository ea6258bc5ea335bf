"""How far a running job is, told by the commits in its store, which every runner makes alike. A partition in which
nothing changed makes none and takes no time: a night without changes ends before there is progress to tell."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A moment of a running job.

    Attributes:
        done: partitions committed, those of an earlier try included.
        total: partitions.
        rows: of the catalog.
        seconds: since this try began.
        before: partitions that were committed when it began.
        stage: what the job is at, where it has stages; `done` and `total` are then shares of the whole.
    """

    done: int
    total: int
    rows: int
    seconds: float
    before: int = 0
    stage: str = ""

    @property
    def rows_per_second(self) -> float:
        """Of this try; partitions hold about the same number of rows."""
        return (self.done - self.before) / self.total * self.rows / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None before the first partition."""
        fresh = self.done - self.before
        return self.seconds / fresh * (self.total - self.done) if fresh > 0 else None


@contextlib.contextmanager
def watched(
    committed: Callable[[], int | tuple[int, str]],
    total: int,
    rows: int,
    report: Callable[[Progress], None],
    every: float = 1.0,
) -> Iterator[None]:
    """Calls `report` again and again while the body runs, and at its end.

    Args:
        committed: counts the partitions that are done; with what the job is at, where it has stages.
        total: partitions.
        rows: of the catalog.
        report: told the progress, from another thread.
        every: seconds between looks.
    """

    def seen() -> tuple[int, str]:
        found = committed()
        return found if isinstance(found, tuple) else (found, "")

    started, before, stop = time.monotonic(), seen()[0], threading.Event()

    def look() -> None:
        done, stage = seen()
        report(Progress(done, total, rows, time.monotonic() - started, before, stage))

    def watch() -> None:
        while not stop.wait(every):
            # A look that fails (the store is busy) is no reason to fail the job.
            with contextlib.suppress(OSError):
                look()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    look()
