"""Locks between processes, on files that may be deleted. The kernel drops a lock when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class FileLock:
    """A lock that is held until `release`: by one holder if `exclusive`, else by any number of them."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, exclusive: bool, wait: bool = True) -> FileLock | None:
        """Takes the lock; None where somebody else has it and `wait` is not set. The file is made, and its folder."""
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return cls(path, descriptor)
            except FileNotFoundError:
                pass  # Whoever had it has deleted the file: the lock of a file that nobody finds is none.
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def release(self) -> None:
        """Gives the lock back. Once more does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits for the lock and holds it, exclusively, while the body runs."""
    lock = FileLock.take(path, exclusive=True)
    assert lock is not None
    try:
        yield
    finally:
        lock.release()
