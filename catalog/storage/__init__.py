"""The one door to storage: the only module of the project that opens a URL.

Every function takes a URL or a local path as text. A scheme chooses the store behind it: the local disk, Google Cloud
Storage through its own client, web servers behind guards of their own, and everything else through fsspec. Beyond what
fsspec promises, a store can *create only if absent* and *compare-and-swap*, which publishing and resuming stand on.

Not for: what the bytes mean.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from catalog.errors import ConflictError, UsageError
from catalog.storage.allowed import ImagePolicy, is_below
from catalog.storage.base import AddressRefusedError, Fetched, Store, TransientError
from catalog.storage.locations import (
    absolute,
    is_url,
    is_web,
    join,
    name_of,
    parent_of,
    redact,
    redact_text,
    scheme_of,
)
from catalog.storage.retry import Retrier

__all__ = [
    "AddressRefusedError",
    "Fetched",
    "ImagePolicy",
    "TransientError",
    "absolute",
    "check_writable",
    "compare_and_swap",
    "create",
    "delete",
    "delete_tree",
    "exists",
    "expand",
    "fetch",
    "is_below",
    "is_url",
    "is_web",
    "join",
    "list_files",
    "local_copy",
    "may_hold_images",
    "name_of",
    "open_read",
    "parent_of",
    "put_file",
    "read_bytes",
    "read_range",
    "read_with_token",
    "redact",
    "redact_text",
    "scheme_of",
    "size",
    "store_for",
    "version_of",
    "write",
]


@functools.cache
def _store(scheme: str) -> Store:
    if scheme == "file":
        from catalog.storage.local import LocalStore

        return LocalStore()
    if scheme == "gs":
        from catalog.storage.gcs import GcsStore

        return GcsStore()
    if scheme in ("s3", "s3a"):
        from catalog.storage.s3 import S3Store

        return S3Store(retrier)
    if scheme in ("http", "https"):
        from catalog.storage.http_store import HttpStore

        return HttpStore(allow_private=os.environ.get("CATALOG_HTTP_ALLOW_PRIVATE") == "1")
    from catalog.storage.fsspec_store import FsspecStore

    return FsspecStore(scheme)


# Stores that can refuse an overwrite, without which a publisher cannot keep its promises.
_WRITABLE_SCHEMES = frozenset(("file", "gs", "s3", "memory"))

#: Tries again, for every store, what may pass; see `catalog.storage.retry`.
retrier = Retrier()


def check_writable(url: str) -> str:
    """`url` if results can be written there. Raises UsageError."""
    if scheme_of(url) not in _WRITABLE_SCHEMES:
        raise UsageError(
            f"{redact(url)}: writing to {scheme_of(url)}:// is not supported, for want of conditional writes; use a "
            "local path, gs:// or s3://"
        )
    return url


def store_for(url: str) -> Store:
    """The store that `url` lives in. One per scheme and process."""
    return _store(scheme_of(url))


def may_hold_images(url: str) -> bool:
    """Whether images are read from the URL's scheme without being asked to."""
    return ImagePolicy().refusal(url) is None


def read_bytes(url: str, limit: int | None = None) -> bytes:
    """The object's bytes; at most `limit` of them when given. Raises FileNotFoundError, PermissionError or OSError."""
    return retrier(lambda _: store_for(url).read_bytes(url, limit), url)


def fetch(url: str, limit: int) -> Fetched:
    """The object's first `limit` bytes and the version that they are of, in one request where the store can.

    Raises FileNotFoundError, PermissionError, TimeoutError or OSError.
    """
    return retrier(lambda _: store_for(url).fetch(url, limit), url)


def read_range(url: str, start: int, length: int) -> bytes:
    """At most `length` bytes of the object from byte `start` on; fewer, or none, where it ends. One request."""
    return retrier(lambda _: store_for(url).read_range(url, start, length), url)


def open_read(url: str) -> BinaryIO:
    """A seekable binary file over the object."""
    return retrier(lambda _: store_for(url).open_read(url), url)


def create(url: str, data: bytes) -> None:
    """Writes an object that must not exist yet, all of it or nothing. Raises ConflictError if it exists."""
    store = store_for(check_writable(url))

    def attempt(failures: int) -> None:
        try:
            store.create(url, data)
        except ConflictError:
            # After a lost answer, what is there may be what was written.
            if not failures or store.read_bytes(url) != data:
                raise

    retrier(attempt, url)


def write(url: str, data: bytes) -> None:
    """Stores `data` at `url`, all of it or nothing, replacing what is there."""
    store = store_for(check_writable(url))
    retrier(lambda _: store.write(url, data), url)


def put_file(local_path: str | Path, url: str) -> None:
    """Stores a finished local file at `url`, all of it or nothing, replacing what is there."""
    store = store_for(check_writable(url))
    retrier(lambda _: store.put_file(Path(local_path), url), url)


def read_with_token(url: str) -> tuple[bytes | None, str | None]:
    """The bytes and the token that `compare_and_swap` wants; (None, None) where there is no such object."""
    return retrier(lambda _: store_for(url).read_with_token(url), url)


def compare_and_swap(url: str, data: bytes, token: str | None) -> None:
    """Replaces the object if it is still the one `token` was read from. Raises ConflictError if it is not."""
    store = store_for(check_writable(url))

    def attempt(failures: int) -> None:
        try:
            store.compare_and_swap(url, data, token)
        except ConflictError:
            if not failures or store.read_bytes(url) != data:
                raise

    retrier(attempt, url)


def list_files(prefix: str) -> Iterator[str]:
    """URLs of the files below the folder `prefix`, sorted; nothing where there is no such folder.

    Raises OSError where a folder below it cannot be read.
    """
    return iter(retrier(lambda _: list(store_for(prefix).list_files(prefix)), prefix))


def expand(pattern: str) -> list[str]:
    """The sorted URLs that a path or glob names; empty when it names none."""
    return retrier(lambda _: store_for(pattern).expand(pattern), pattern)


def exists(url: str) -> bool:
    """Whether there is an object at `url`."""
    return retrier(lambda _: store_for(url).exists(url), url)


def size(url: str) -> int:
    """Bytes in the object. Raises FileNotFoundError."""
    return retrier(lambda _: store_for(url).size(url), url)


def version_of(url: str) -> str:
    """What the store says changes when the object does: generation, etag, or size and mtime. One cheap request."""
    return retrier(lambda _: store_for(url).version_of(url), url)


def delete(url: str) -> None:
    """Deletes an object; nothing where there is none."""
    retrier(lambda _: store_for(url).delete(url), url)


def delete_tree(prefix: str) -> None:
    """Deletes every object below the folder `prefix`, but what is stored there meanwhile.

    Raises OSError where one cannot be deleted.
    """
    retrier(lambda _: store_for(prefix).delete_tree(prefix), prefix)


def local_copy(url: str, folder: str | Path) -> Path:
    """A local path with the object's bytes: the object itself on a local disk, else a download into `folder`."""
    store = store_for(url)
    path = store.local_path(url)
    if path is not None:
        return path
    target = Path(folder) / name_of(redact(url))

    def download(failures: int) -> None:
        with store.open_read(url) as source, target.open("wb") as sink:
            while chunk := source.read(8 << 20):
                sink.write(chunk)

    retrier(download, url)
    return target
