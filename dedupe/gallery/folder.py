"""The folder of a gallery, whose files a few threads store: an object store is not waited for one by one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from catalog import storage

_THREADS = 8
# Files that wait in memory; each is a page or a picture.
_WAITING = 32


class GalleryFolder:
    """Stores files below a URL. A context manager: once it is left without an error, all files are stored."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> GalleryFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._pool:
            if kind is None:
                self.settle()

    def put(self, name: str, data: bytes | str) -> None:
        """Stores a file soon. Raises OSError for one that was put before and could not be stored."""
        content = data.encode() if isinstance(data, str) else data
        self._waiting.append(self._pool.submit(storage.write, storage.join(self._url, name), content))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def settle(self) -> None:
        """Waits until everything that was put is stored. Raises OSError."""
        while self._waiting:
            self._waiting.popleft().result()
