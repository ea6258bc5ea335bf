"""The local disk: atomic by temporary file, fsync and link or rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from catalog.errors import ConflictError
from catalog.storage.base import Fetched, Store
from catalog.storage.locations import absolute


class LocalStore(Store):
    """Files under ordinary paths. Names that begin with a dot are the store's own (temporary files, locks)."""

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        with self.open_read(url) as file:
            return file.read(-1 if limit is None else limit)

    def fetch(self, url: str, limit: int) -> Fetched:
        # Not waiting on a pipe, which would be for ever; ordinary files do not know the flag.
        descriptor = os.open(absolute(url), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            version = _version(url, os.fstat(descriptor))
            chunks, left = [], limit
            while left > 0 and (chunk := file.read(left)):
                chunks.append(chunk)
                left -= len(chunk)
        return Fetched(chunks[0] if len(chunks) == 1 else b"".join(chunks), version)

    def open_read(self, url: str) -> BinaryIO:
        return open(absolute(url), "rb")

    def create(self, url: str, data: bytes) -> None:
        path = Path(absolute(url))
        with _temporary_beside(path) as temporary:
            _write_durably(temporary, data)
            try:
                os.link(temporary, path)  # fails if the name is taken, unlike rename
            except FileExistsError:
                raise ConflictError(f"{url} exists already and is never overwritten") from None

    def write(self, url: str, data: bytes) -> None:
        path = Path(absolute(url))
        with _temporary_beside(path) as temporary:
            _write_durably(temporary, data)
            os.replace(temporary, path)

    def put_file(self, local_path: Path, url: str) -> None:
        path = Path(absolute(url))
        with _temporary_beside(path) as temporary:
            shutil.copyfile(local_path, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        path = Path(absolute(url))
        path.parent.mkdir(parents=True, exist_ok=True)
        # The kernel drops the lock when its holder dies, so a killed process cannot block the next one.
        with (path.parent / f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.read_with_token(url)[1] != token:
                raise ConflictError(f"{url} was changed by somebody else in the meantime")
            with _temporary_beside(path) as temporary:
                _write_durably(temporary, data)
                os.replace(temporary, path)

    def list_files(self, prefix: str) -> Iterator[str]:
        top = absolute(prefix)
        walk = os.walk(top, onerror=lambda error: _raise_unless_gone(error, top))
        found = (os.path.join(folder, name) for folder, _, names in walk for name in names)
        yield from sorted(path for path in found if not os.path.basename(path).startswith("."))

    def expand(self, pattern: str) -> list[str]:
        path = absolute(pattern)
        if os.path.isfile(path):
            return [path]
        return sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))

    def exists(self, url: str) -> bool:
        return os.path.isfile(absolute(url))

    def size(self, url: str) -> int:
        return os.stat(absolute(url)).st_size

    def version_of(self, url: str) -> str:
        return _version(url, os.stat(absolute(url)))

    def delete(self, url: str) -> None:
        Path(absolute(url)).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        top = absolute(prefix)

        def failed(_: object, path: str, what: tuple[type, BaseException, object]) -> None:
            # A folder in which somebody stores a file meanwhile stays, with that file.
            if not isinstance(what[1], OSError) or what[1].errno != errno.ENOTEMPTY:
                _raise_unless_gone(what[1], top, path)

        shutil.rmtree(top, onerror=failed)

    def local_path(self, url: str) -> Path | None:
        return Path(absolute(url))


def _raise_unless_gone(error: BaseException, top: str, path: str | None = None) -> None:
    """Raises an error of a walk through a folder; not where the folder is none, or what was in it went meanwhile."""
    if isinstance(error, NotADirectoryError) and (path or error.filename) == top:
        return
    if not isinstance(error, FileNotFoundError):
        raise error


def _version(url: str, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{url} is not a regular file")
    return f"{status.st_size}-{status.st_mtime_ns}"


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A fresh name in the same folder (so that link and rename stay on one file system), removed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.fchmod(handle, 0o644)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
