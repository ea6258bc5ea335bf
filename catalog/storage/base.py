"""What a store must do to stand behind the storage door."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class TransientError(OSError):
    """A failure that may pass: the store is throttling or failing, or a connection was lost.

    Attributes:
        retry_after: seconds that the store asked to wait, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AddressRefusedError(PermissionError):
    """A web address that is not asked: it leads into a private network, to another scheme, or to an odd port."""


@dataclass(frozen=True)
class Fetched:
    """An object's first bytes, and the version of the object that they are of (see `version_of`), "" where the store
    cannot tell one from another."""

    data: bytes
    version: str


class Store(ABC):
    """One kind of storage. Methods take whole URLs; their contracts stand in `catalog.storage`."""

    @abstractmethod
    def read_bytes(self, url: str, limit: int | None = None) -> bytes: ...

    def fetch(self, url: str, limit: int) -> Fetched:
        """A store that gives no version with the bytes is asked for it first: a change in between is seen later."""
        version = self.version_of(url)
        return Fetched(self.read_bytes(url, limit), version)

    @abstractmethod
    def open_read(self, url: str) -> BinaryIO: ...

    def read_range(self, url: str, start: int, length: int) -> bytes:
        with self.open_read(url) as file:
            file.seek(start)
            return file.read(length)

    @abstractmethod
    def create(self, url: str, data: bytes) -> None: ...

    @abstractmethod
    def write(self, url: str, data: bytes) -> None: ...

    @abstractmethod
    def put_file(self, local_path: Path, url: str) -> None: ...

    def read_with_token(self, url: str) -> tuple[bytes | None, str | None]:
        """A store without a token of its own goes by the content."""
        try:
            data = self.read_bytes(url)
        except FileNotFoundError:
            return None, None
        return data, hashlib.sha256(data).hexdigest()

    @abstractmethod
    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None: ...

    @abstractmethod
    def list_files(self, prefix: str) -> Iterator[str]: ...

    @abstractmethod
    def expand(self, pattern: str) -> list[str]: ...

    @abstractmethod
    def exists(self, url: str) -> bool: ...

    @abstractmethod
    def size(self, url: str) -> int: ...

    @abstractmethod
    def version_of(self, url: str) -> str: ...

    @abstractmethod
    def delete(self, url: str) -> None: ...

    @abstractmethod
    def delete_tree(self, prefix: str) -> None: ...

    def local_path(self, url: str) -> Path | None:
        """The object's path on this machine, for stores that have one."""
        return None
