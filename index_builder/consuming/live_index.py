"""An index that goes on to the version that its channel points to, while it is searched."""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from catalog.channel import Pointer, read_channel
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest
from index_builder.catalog_index import CatalogIndex, Match
from index_builder.consuming.failures import Failures
from index_builder.consuming.serving import Serving
from index_builder.faiss_import import faiss
from index_builder.searching.searcher import OperatingPoint

_LOWEST_PRIORITY = 19
# Seconds, a century: threads cannot wait for ever.
_LONGEST = 3.2e9


class LiveIndex:
    """The version of a channel, whichever it is. `CatalogIndex.watch` makes one; any number of threads may search it.

    A thread of its own looks at the channel. A version that is new there is downloaded, verified and warmed up beside
    the one that is served, at the lowest priority, and then takes its place; searches that are under way end on the
    old one. Whatever goes wrong, the old one stays, the failure is counted, and the version is tried again after a
    pause that grows, or at once when the channel points to another one.

    A version of another encoder than the first one's is such a failure, for queries would come from the old encoder:
    open the index anew for that.

    FAISS, and the thread, do not live on in a forked child: a server that forks its workers opens and watches its index
    in each worker, after the fork.

    Attributes:
        polls: looks at the channel.
        swaps: versions that took another's place.
        last_poll: when the channel was last read, seconds since 1970; None before that.
    """

    def __init__(self, index: CatalogIndex, every: float, jitter: float) -> None:
        if index.opening is None or index.opening.channel is None:
            raise UsageError("only an index that was opened by a channel can be watched")
        if not (_is_number(every) and _is_number(jitter) and 0 < every <= _LONGEST and 0 <= jitter < 1):
            raise UsageError(f"every={every!r}, jitter={jitter!r}: expected seconds, and a share of them from 0 to 1")
        self._opening = replace(index.opening, encoder=index.manifest.encoder.fingerprint)
        self._every, self._jitter = float(every), float(jitter)
        self._wake = threading.Event()
        self._closed = False
        self._looking = threading.Lock()  # One look at a time.
        self._swapping = threading.Lock()
        self._retired: list[Serving] = []
        self._serving = Serving(index, self._wake.set)
        self._failures = Failures(every)
        self.polls: int = 0
        self.swaps: int = 0
        self.last_poll: float | None = None
        self._thread = threading.Thread(target=self._run, name="catalog-indexer watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def hold(self) -> Iterator[CatalogIndex]:
        """The version that is served, for several questions to one and the same; it stays open while the body runs."""
        while not (serving := self._serving).enter():
            if self._closed:
                raise UsageError("the index is closed")
        try:
            yield serving.index
        finally:
            serving.leave()

    def search(self, vectors: np.ndarray, k: int = 10, *args: Any, **options: Any) -> Any:
        """`CatalogIndex.search` of the version that is served."""
        with self.hold() as index:
            return index.search(vectors, k, *args, **options)

    def search_item(self, item_id: str, k: int = 10, *args: Any, **options: Any) -> list[Match]:
        """`CatalogIndex.search_item` of the version that is served."""
        with self.hold() as index:
            return index.search_item(item_id, k, *args, **options)

    def item(self, item_id: str) -> dict[str, Any]:
        """`CatalogIndex.item` of the version that is served."""
        with self.hold() as index:
            return index.item(item_id)

    def vector_of(self, item_id: str) -> np.ndarray:
        """`CatalogIndex.vector_of` of the version that is served."""
        with self.hold() as index:
            return index.vector_of(item_id)

    def point_for(self, recall_target: float) -> OperatingPoint:
        """`CatalogIndex.point_for` of the version that is served."""
        with self.hold() as index:
            return index.point_for(recall_target)

    @property
    def manifest(self) -> Manifest:
        """Of the version that is served."""
        return self._serving.index.manifest

    @property
    def version(self) -> str:
        """That is served."""
        return self.manifest.version

    @property
    def channel(self) -> str:
        """That is followed."""
        return str(self._opening.channel)

    @property
    def age_seconds(self) -> float:
        """Since the version that is served was built."""
        return time.time() - datetime.datetime.fromisoformat(self.manifest.created_at).timestamp()

    @property
    def load_seconds(self) -> float:
        """That the version that is served took to download, verify and warm up."""
        return self._serving.index.load_seconds

    @property
    def failures(self) -> int:
        """Looks at the channel and versions that came to nothing."""
        return sum(self._failures.by_kind.values())

    @property
    def failures_by_kind(self) -> dict[str, int]:
        """`failures`, by `index_builder.consuming.failures.KINDS`."""
        return dict(self._failures.by_kind)

    @property
    def last_failure(self) -> str | None:
        """What the latest failure was; None once the version of the channel is served."""
        return self._failures.last

    def metrics(self) -> str:
        """What there is to watch over, in the text format of Prometheus. Needs the extra `metrics`."""
        from index_builder.consuming.metrics import metrics_text

        return metrics_text(self)

    def register(self, registry: Any = None) -> None:
        """Adds the metrics to a registry of `prometheus_client`, the default one if None, until `close`."""
        from index_builder.consuming.metrics import register

        if self._closed:
            raise UsageError("the index is closed")
        register(self, registry)

    def poll(self) -> bool:
        """Looks at the channel now, and loads what is new there. Returns whether another version is served since."""
        with self._looking:
            if self._closed:
                raise UsageError("the index is closed")
            try:
                return self._look()
            finally:
                self._close_retired()

    def close(self) -> None:
        """Ends the watch, and closes the index when its last search has ended."""
        from index_builder.consuming.metrics import leave

        with self._swapping:
            if self._closed:
                return
            self._closed = True
            self._retire(self._serving)
        self._wake.set()
        leave(self)

    def __enter__(self) -> LiveIndex:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _run(self) -> None:
        _step_back()
        due = time.monotonic() + random.uniform(0, self._every)
        while not self._closed or self._retired:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            self._close_retired()
            if not self._closed and time.monotonic() >= due:
                with contextlib.suppress(UsageError):  # Closed in this moment.
                    self.poll()
                due = time.monotonic() + self._every * (1 + random.uniform(-self._jitter, self._jitter))

    def _look(self) -> bool:
        self.polls += 1
        pointer: Pointer | None = None
        try:
            pointer = read_channel(self._opening.root, self.channel).pointer
            if pointer is None:
                raise IntegrityError(f"{self._opening.root} has no channel {self.channel!r} any more")
            self.last_poll = time.time()
            if self._serves(pointer):
                self._failures.forget()
            elif self._failures.is_due(pointer):
                self._swap(CatalogIndex.opened(self._opening, pointer))
                self._failures.forget()
                return True
        except Exception as error:  # Whatever it is: what is served stays.
            self._failures.note(error, pointer)
        return False

    def _serves(self, pointer: Pointer) -> bool:
        opening = self._serving.index.opening
        assert opening is not None
        assert opening.pointer is not None
        served = opening.pointer
        return (served.version, served.manifest_sha256) == (pointer.version, pointer.manifest_sha256)

    def _swap(self, index: CatalogIndex) -> None:
        serving = Serving(index, self._wake.set)
        with self._swapping:
            if self._closed:
                index.close()
                return
            old, self._serving = self._serving, serving
            self.swaps += 1
            self._retire(old)

    def _retire(self, serving: Serving) -> None:
        self._retired.append(serving)
        serving.retire()

    def _close_retired(self) -> None:
        """Closes what no search is under way on; here, so that no search waits for it."""
        with self._swapping:
            over = [each for each in self._retired if each.over]
            self._retired = [each for each in self._retired if not each.over]
        for each in over:
            try:
                each.index.close()
            except Exception as error:  # It answers nobody any more: whoever is served goes on.
                self._failures.note_close(error, each.index.manifest.version)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _step_back() -> None:
    """What this thread, and those that it starts, do may wait for any search."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":  # Elsewhere a priority is the process's.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
    faiss().omp_set_num_threads(1)
