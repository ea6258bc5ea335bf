"""A store that is elsewhere: a local disk whose files have to be downloaded, and that counts how often."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from catalog.storage.local import LocalStore


class FarStore(LocalStore):
    """Every download is counted in `downloads`, by the name of the file; those in `damaged` arrive with a bit wrong."""

    def __init__(self) -> None:
        self.downloads: Counter[str] = Counter()
        self.damaged: dict[str, int] = {}

    def local_path(self, url: str) -> Path | None:
        return None

    def open_read(self, url: str) -> BinaryIO:
        name = Path(url).name
        self.downloads[name] += 1
        data = bytearray(self._whole(url))
        if self.damaged.get(name) == self.downloads[name]:
            data[-1] ^= 1
        return BytesIO(bytes(data))

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        return self._whole(url)[:limit]

    def _whole(self, url: str) -> bytes:
        with super().open_read(url) as file:
            return file.read()
