"""Work on all cores whose result does not depend on how many there are.

How a BLAS splits a product between its threads decides the last bits of the result, and through them the bytes of an
index. So each piece of work is computed by one thread, and many pieces run at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from index_builder.faiss_import import faiss

Given = TypeVar("Given")
Made = TypeVar("Made")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _SingleThreadedMath:
    """Holds every BLAS at one thread for whoever is inside. numpy's has one limit for the process, which stays until
    the last has left; FAISS's, on OpenMP, has one for each thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._own = threading.local()

    def __enter__(self) -> None:
        faiss()  # A BLAS that is loaded later would not be held.
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._everybodys = _by_nobody(lambda: _held(lambda layer: layer != "openmp"))
        entered = self._own.__dict__.setdefault("entered", [])
        entered.append(_held(lambda layer: layer == "openmp"))

    def __exit__(self, *raised: object) -> None:
        self._own.entered.pop().restore_original_limits()
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _by_nobody(self._everybodys.restore_original_limits)


def _by_nobody(work: Callable[[], Made]) -> Made:
    """Calls `work` in a thread that ends: threadpoolctl lets nobody else change a limit while he who set it lives."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(work).result()


def _held(which: Callable[[str], bool]) -> Any:
    """Those of the loaded BLAS libraries whose threading layer is wanted, held at one thread."""
    controller = ThreadpoolController().select(user_api="blas")
    layers = {each.get("threading_layer", "") for each in controller.info()}
    return controller.select(threading_layer=[layer for layer in layers if which(layer)]).limit(limits=1)


single_threaded_math = _SingleThreadedMath()


def in_threads(work: Callable[[Given], Made], pieces: Iterable[Given]) -> Iterator[Made]:
    """What `work` makes of each piece, in order. A few pieces are under way at a time, so both ends may stream.

    FAISS and BLAS compute with one thread inside `work`.
    """
    threads = cores()
    with single_threaded_math, contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads, initializer=lambda: faiss().omp_set_num_threads(1)))
        under_way: deque[Future[Made]] = deque()
        stack.callback(lambda: [future.cancel() for future in under_way])
        for piece in pieces:
            under_way.append(pool.submit(work, piece))
            if len(under_way) > 2 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
