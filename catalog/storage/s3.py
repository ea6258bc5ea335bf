"""S3 and the stores that speak its protocol. `If-None-Match` and `If-Match` make the conditional writes.

The endpoint, the region and the keys come from AWS's environment variables (`AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, …), from the machine's or the pod's role, or from boto3's profiles where boto3 is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from catalog.errors import ConflictError
from catalog.storage.base import Fetched, Store
from catalog.storage.locations import glob_matches
from catalog.storage.object_client import NO_RETRIES, ObjectClients, client_options, os_errors, split
from catalog.storage.retry import Retrier

_READ_AHEAD = 4 << 20


def _client(bucket: str) -> Any:
    from obstore import store

    client: Any = store.S3Store  # Its options are typed dictionaries.

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options: dict[str, Any] = {}
    if not os.environ.get("AWS_ACCESS_KEY_ID") and importlib.util.find_spec("boto3"):
        from obstore.auth.boto3 import Boto3CredentialProvider

        with contextlib.suppress(ValueError):  # It finds no credentials: then the machine's role is asked.
            options["credential_provider"] = Boto3CredentialProvider()
    return client(
        bucket, client_options=client_options(endpoint.startswith("http://")), retry_config=NO_RETRIES, **options
    )


class S3Store(Store):
    """`s3://bucket/name`. An object's etag is its compare-and-swap token and its version."""

    def __init__(self, retrier: Retrier | None = None) -> None:
        self._clients = ObjectClients(_client, generations=False)
        self._retrier = retrier or Retrier()

    def __reduce__(self) -> tuple[type[S3Store], tuple[()]]:
        return S3Store, ()

    def _at(self, url: str) -> tuple[Any, str]:
        bucket, name = split(url)
        return self._clients.of(bucket), name

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        if limit is not None:
            return self.fetch(url, limit).data
        client, name = self._at(url)
        with os_errors(url):
            return bytes(client.get(name).bytes())

    def fetch(self, url: str, limit: int) -> Fetched:
        return self._clients.fetch(url, limit)

    def open_read(self, url: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Object(self, url), _READ_AHEAD))

    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self._clients.read_range(url, start, length) if length else b""

    def read_again(self, url: str, start: int, length: int) -> bytes:
        """`read_range` for a file that the door opened long before, and whose reads it does not see."""
        return self._retrier(lambda _: self.read_range(url, start, length), url)

    def create(self, url: str, data: bytes) -> None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        client, name = self._at(url)
        try:
            with os_errors(url):
                client.put(name, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            raise ConflictError(f"{url} exists already and is never overwritten") from None

    def write(self, url: str, data: bytes) -> None:
        client, name = self._at(url)
        with os_errors(url):
            client.put(name, data)

    def put_file(self, local_path: Path, url: str) -> None:
        client, name = self._at(url)
        with os_errors(url):
            client.put(name, local_path)

    def read_with_token(self, url: str) -> tuple[bytes | None, str | None]:
        client, name = self._at(url)
        try:
            with os_errors(url):
                answer = client.get(name)
                return bytes(answer.bytes()), answer.meta["e_tag"]
        except FileNotFoundError:
            return None, None

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        client, name = self._at(url)
        try:
            with os_errors(url):
                client.put(name, data, mode={"e_tag": token} if token else "create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise ConflictError(f"{url} was changed by somebody else in the meantime") from None

    def list_files(self, prefix: str) -> Iterator[str]:
        bucket, name = split(prefix)
        yield from sorted(f"s3://{bucket}/{found}" for found in self._names(prefix, name.rstrip("/") or None))

    def _names(self, url: str, folder: str | None) -> Iterator[str]:
        with os_errors(url):
            for batch in self._at(url)[0].list(folder):
                yield from (meta["path"] for meta in batch if not meta["path"].endswith("/"))

    def expand(self, pattern: str) -> list[str]:
        if not any(mark in pattern for mark in "*?["):
            return [pattern] if self.exists(pattern) else []
        bucket, name = split(pattern)
        literal = name[: min(name.find(mark) for mark in "*?[" if mark in name)]
        names = self._names(pattern, literal.rpartition("/")[0] or None)
        return sorted(f"s3://{bucket}/{found}" for found in names if glob_matches(found, name))

    def _meta(self, url: str) -> Any:
        client, name = self._at(url)
        with os_errors(url):
            return client.head(name)

    def exists(self, url: str) -> bool:
        try:
            self._meta(url)
        except FileNotFoundError:
            return False
        return True

    def size(self, url: str) -> int:
        return int(self._meta(url)["size"])

    def version_of(self, url: str) -> str:
        return self._clients.version(self._meta(url))

    def delete(self, url: str) -> None:
        client, name = self._at(url)
        with contextlib.suppress(FileNotFoundError), os_errors(url):
            client.delete(name)

    def delete_tree(self, prefix: str) -> None:
        client, _ = self._at(prefix)
        names = [split(url)[1] for url in self.list_files(prefix)]
        with os_errors(prefix):
            for start in range(0, len(names), 1_000):
                client.delete(names[start : start + 1_000])


class _Object(io.RawIOBase):
    """An object as a seekable raw file; every read is a ranged request."""

    def __init__(self, store: S3Store, url: str) -> None:
        self._store = store
        self._url = url
        self._size = store.size(url)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        buffer[:length] = self._store.read_again(self._url, self._position, length)
        self._position += length
        return length
