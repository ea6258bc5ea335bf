"""What a store must do to stand behind the storage door."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class Store(ABC):
    """One kind of storage. Methods take whole URLs; their contracts stand in `catalog.storage`."""

    @abstractmethod
    def read_bytes(self, url: str, limit: int | None = None) -> bytes: ...

    @abstractmethod
    def open_read(self, url: str) -> BinaryIO: ...

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
    def delete_tree(self, prefix: str) -> None: ...

    def local_path(self, url: str) -> Path | None:
        """The object's path on this machine, for stores that have one."""
        return None
