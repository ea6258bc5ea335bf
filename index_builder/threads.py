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
from typing import TypeVar

from threadpoolctl import threadpool_limits

from index_builder.faiss_import import faiss

Given = TypeVar("Given")
Made = TypeVar("Made")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _SingleThreadedMath:
    """Holds every BLAS of the process at one thread while anybody is inside; its limit is not a thread's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        faiss()  # A BLAS that is loaded later would not be held.
        with self._lock:
            self._inside += 1
            if self._limits is None:
                self._limits = threadpool_limits(limits=1, user_api="blas")

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


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
