"""Every scheme that fsspec knows, through fsspec."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from catalog.errors import ConflictError, MissingExtraError, UsageError
from catalog.storage.base import Store


class FsspecStore(Store):
    """One fsspec file system, written only where the storage door allows it."""

    def __init__(self, scheme: str) -> None:
        import fsspec

        try:
            self._fs: Any = fsspec.filesystem(scheme)
        except ImportError as error:
            raise MissingExtraError(f"{scheme}:// cannot be read: {error}") from None
        except ValueError:
            raise UsageError(f"{scheme}:// is not a storage scheme that fsspec knows") from None
        self._lock = threading.Lock()

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        if limit is None:
            return cast(bytes, self._fs.cat_file(url))
        with self._fs.open(url, "rb") as file:
            return cast(bytes, file.read(limit))

    def open_read(self, url: str) -> BinaryIO:
        return cast(BinaryIO, self._fs.open(url, "rb"))

    def create(self, url: str, data: bytes) -> None:
        with self._lock:
            if self._fs.exists(url):
                raise ConflictError(f"{url} exists already and is never overwritten")
            self._fs.pipe_file(url, data)

    def write(self, url: str, data: bytes) -> None:
        self._fs.pipe_file(url, data)

    def put_file(self, local_path: Path, url: str) -> None:
        self._fs.pipe_file(url, local_path.read_bytes())

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        with self._lock:
            if self.read_with_token(url)[1] != token:
                raise ConflictError(f"{url} was changed by somebody else in the meantime")
            self._fs.pipe_file(url, data)

    def list_files(self, prefix: str) -> Iterator[str]:
        try:
            names = self._fs.find(prefix)
        except FileNotFoundError:
            return
        folder = self._fs._strip_protocol(prefix).rstrip("/")
        for name in sorted(names):
            # Below a folder and not beside it: object stores find by prefix. Spelled as the folder was.
            if name.startswith(f"{folder}/"):
                yield prefix.rstrip("/") + name.removeprefix(folder)

    def expand(self, pattern: str) -> list[str]:
        if self._fs.isfile(pattern):
            return [pattern]
        return sorted(self._fs.unstrip_protocol(name) for name in self._fs.glob(pattern))

    def exists(self, url: str) -> bool:
        return bool(self._fs.isfile(url))

    def size(self, url: str) -> int:
        return int(self._fs.size(url))

    def version_of(self, url: str) -> str:
        info = self._fs.info(url)
        for key in ("ETag", "etag", "generation", "version_id"):
            if info.get(key):
                return str(info[key]).strip('"')
        return f"{info.get('size')}-{info.get('mtime') or info.get('LastModified') or info.get('created')}"

    def delete(self, url: str) -> None:
        if self._fs.exists(url):
            self._fs.rm_file(url)

    def delete_tree(self, prefix: str) -> None:
        if self._fs.exists(prefix):
            self._fs.rm(prefix, recursive=True)
