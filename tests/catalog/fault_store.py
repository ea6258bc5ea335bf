"""A store in memory that fails when it is told to: dies around an operation, loses an answer, turns a request away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from catalog.errors import ConflictError
from catalog.storage.base import Store, TransientError


class Fault(StrEnum):
    """What happens at an operation."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOST_ANSWER = "lost answer"  # It was done, and nobody was told.
    REFUSED = "refused"  # It was not done; another try may.


class Crash(BaseException):
    """The process died. No handler of the code under test may survive it."""


class FaultStore(Store):
    """`memory://…` as a dictionary. Operations are numbered from 0; `faults` and `between` are by number, and `changes`
    are the numbers of those that changed what is stored."""

    #: Parts of the names of objects that nothing may ever change.
    immutable = ("/snapshots/", "/commits/", "/files/", "/rejects/", "/rows/", "/plan.json")

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.plan({})
        self._writes = 0
        self._lock = threading.RLock()

    def plan(self, faults: dict[int, Fault], between: dict[int, Callable[[], None]] | None = None) -> None:
        """What will happen from now on, operations being counted from 0 again."""
        self.faults = faults
        self.between = between or {}
        self.operations = 0
        self.changes: list[int] = []
        self.dead = False

    def _operate(self, work: Callable[[], Any]) -> Any:
        with self._lock:
            number, self.operations = self.operations, self.operations + 1
            interlude = self.between.pop(number, None)
        if interlude:
            interlude()
        with self._lock:
            fault = self.faults.pop(number, None)
            if self.dead or fault is Fault.CRASH_BEFORE:
                self.dead = True
                raise Crash
            if fault is Fault.REFUSED:
                raise TransientError("503: slow down")
            self._changed = False
            try:
                return work()
            finally:  # Whatever it would have answered.
                if self._changed:
                    self.changes.append(number)
                if fault is Fault.CRASH_AFTER:
                    self.dead = True
                    raise Crash
                if fault is Fault.LOST_ANSWER:
                    raise TransientError("connection reset")

    def _get(self, url: str) -> tuple[bytes, int]:
        if url not in self.objects:
            raise FileNotFoundError(url)
        return self.objects[url]

    def _put(self, url: str, data: bytes) -> None:
        if any(part in url for part in self.immutable) and self.objects.get(url, (data, 0))[0] != data:
            raise AssertionError(f"{url} was changed after it was written")
        self._changed = True
        self._writes += 1
        self.objects[url] = (bytes(data), self._writes)

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        return self._operate(lambda: self._get(url)[0][:limit])

    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self._operate(lambda: self._get(url)[0][start : start + length])

    def open_read(self, url: str) -> BinaryIO:
        return BytesIO(self._operate(lambda: self._get(url)[0]))

    def create(self, url: str, data: bytes) -> None:
        def work() -> None:
            if url in self.objects:
                raise ConflictError(f"{url} exists already and is never overwritten")
            self._put(url, data)

        self._operate(work)

    def write(self, url: str, data: bytes) -> None:
        self._operate(lambda: self._put(url, data))

    def put_file(self, local_path: Path, url: str) -> None:
        self._operate(lambda: self._put(url, local_path.read_bytes()))

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        def work() -> None:
            if self._token(url) != token:
                raise ConflictError(f"{url} was changed by somebody else in the meantime")
            self._put(url, data)

        self._operate(work)

    def read_with_token(self, url: str) -> tuple[bytes | None, str | None]:
        return self._operate(lambda: (self.objects[url][0] if url in self.objects else None, self._token(url)))

    def _token(self, url: str) -> str | None:
        return str(self.objects[url][1]) if url in self.objects else None

    def list_files(self, prefix: str) -> Iterator[str]:
        return iter(
            self._operate(lambda: sorted(url for url in self.objects if url.startswith(prefix.rstrip("/") + "/")))
        )

    def expand(self, pattern: str) -> list[str]:
        return self._operate(lambda: [pattern] if pattern in self.objects else [])

    def exists(self, url: str) -> bool:
        return self._operate(lambda: url in self.objects)

    def size(self, url: str) -> int:
        return self._operate(lambda: len(self._get(url)[0]))

    def version_of(self, url: str) -> str:
        return self._operate(lambda: str(self._get(url)[1]))

    def delete(self, url: str) -> None:
        def work() -> None:
            self._changed |= self.objects.pop(url, None) is not None

        self._operate(work)

    def delete_tree(self, prefix: str) -> None:
        def work() -> None:
            for url in [url for url in self.objects if url.startswith(prefix.rstrip("/") + "/")]:
                self._changed = True
                del self.objects[url]

        self._operate(work)
