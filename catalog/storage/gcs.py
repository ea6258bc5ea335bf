"""Google Cloud Storage through its own client, whose generation preconditions make the conditional writes.

Images, which are many and small, come through obstore."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

from catalog.errors import ConflictError, UsageError
from catalog.storage.base import Fetched, Store, TransientError
from catalog.storage.locations import glob_matches, scheme_of
from catalog.storage.object_client import NO_RETRIES, ObjectClients, client_options

# The client sends what is larger in pieces.
_IN_ONE_REQUEST = 8 << 20
# Reads of an object that is replaced again and again.
_TRIES = 10
# Connections of Google's client to one host are this many.
_DELETERS = 10


class GcsStore(Store):
    """`gs://bucket/name`. An object's generation is its compare-and-swap token and its version."""

    def __init__(self) -> None:
        self._client_of_process: dict[int, Any] = {}
        self._readers = ObjectClients(_reader, generations=True)

    def __reduce__(self) -> tuple[type[GcsStore], tuple[()]]:
        return GcsStore, ()  # Clients hold connections: each process makes its own.

    @property
    def _client(self) -> Any:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        pid = os.getpid()
        if pid not in self._client_of_process:
            if os.environ.get("STORAGE_EMULATOR_HOST"):
                self._client_of_process[pid] = storage.Client.create_anonymous_client()
            else:
                try:
                    self._client_of_process[pid] = storage.Client()
                except GoogleAuthError as error:
                    raise UsageError(
                        f"gs:// needs credentials: {str(error).splitlines()[0]}; run gcloud auth "
                        "application-default login"
                    ) from None
        return self._client_of_process[pid]

    def _blob(self, url: str) -> Any:
        bucket, name = _split(url)
        return self._client.bucket(bucket).blob(name)

    def _existing(self, url: str) -> Any:
        bucket, name = _split(url)
        with _as_os_errors(url):
            blob = self._client.bucket(bucket).get_blob(name) if name else None
        if blob is None:
            raise FileNotFoundError(url)
        return blob

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        from google.api_core import exceptions

        try:
            with _as_os_errors(url):
                return cast(bytes, self._blob(url).download_as_bytes(end=None if limit is None else limit - 1))
        except exceptions.RequestRangeNotSatisfiable:
            return b""  # A range of an empty object.

    def fetch(self, url: str, limit: int) -> Fetched:
        if "" in _split(url)[1].split("/"):
            return super().fetch(url, limit)  # Names with an empty part are none to obstore.
        return self._readers.fetch(url, limit)

    def read_range(self, url: str, start: int, length: int) -> bytes:
        if not length or "" in _split(url)[1].split("/"):
            return super().read_range(url, start, length)
        return self._readers.read_range(url, start, length)

    def open_read(self, url: str) -> BinaryIO:
        return cast(BinaryIO, self._existing(url).open("rb"))

    def _upload(self, url: str, data: bytes, content_type: str, **conditions: int) -> None:
        # Once: the client would not say that an answer was lost, and its second try of a conditional write fails by
        # what its first one wrote. The door tries again, and compares.
        self._blob(url).upload_from_string(data, content_type, retry=None, **conditions)

    def create(self, url: str, data: bytes) -> None:
        from google.api_core import exceptions

        try:
            with _as_os_errors(url):
                self._upload(url, data, "application/octet-stream", if_generation_match=0)
        except exceptions.PreconditionFailed:
            raise ConflictError(f"{url} exists already and is never overwritten") from None

    def write(self, url: str, data: bytes) -> None:
        with _as_os_errors(url):
            self._upload(url, data, "application/octet-stream")

    def put_file(self, local_path: Path, url: str) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        # A larger file goes in pieces: it is for the client to send one of them again, and not the whole file.
        retry = DEFAULT_RETRY if local_path.stat().st_size > _IN_ONE_REQUEST else None
        with _as_os_errors(url):
            self._blob(url).upload_from_filename(str(local_path), content_type="application/octet-stream", retry=retry)

    def read_with_token(self, url: str) -> tuple[bytes | None, str | None]:
        from google.api_core import exceptions

        for _ in range(_TRIES):
            try:
                blob = self._existing(url)
            except FileNotFoundError:
                return None, None
            # Pinned to one generation, so that bytes and token belong together. Another may take its place meanwhile.
            with contextlib.suppress(exceptions.PreconditionFailed, FileNotFoundError), _as_os_errors(url):
                return blob.download_as_bytes(if_generation_match=blob.generation), str(blob.generation)
        raise TransientError(f"{url} was replaced {_TRIES} times while it was read")

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        from google.api_core import exceptions

        generation = 0 if token is None else int(token)
        try:
            with _as_os_errors(url):
                self._upload(url, data, "application/json", if_generation_match=generation)
        except (exceptions.PreconditionFailed, FileNotFoundError):
            raise ConflictError(f"{url} was changed by somebody else in the meantime") from None

    def list_files(self, prefix: str) -> Iterator[str]:
        bucket, name = _split(prefix)
        with _as_os_errors(prefix):
            for blob in self._client.list_blobs(bucket, prefix=f"{name.rstrip('/')}/" if name else None):
                if not blob.name.endswith("/"):
                    yield f"gs://{bucket}/{blob.name}"

    def expand(self, pattern: str) -> list[str]:
        if not any(mark in pattern for mark in "*?["):
            return [pattern] if self.exists(pattern) else []
        bucket, name = _split(pattern)
        literal = name[: min(name.find(mark) for mark in "*?[" if mark in name)]
        with _as_os_errors(pattern):
            names = [blob.name for blob in self._client.list_blobs(bucket, prefix=literal)]
        return sorted(f"gs://{bucket}/{found}" for found in names if glob_matches(found, name))

    def exists(self, url: str) -> bool:
        with _as_os_errors(url):
            return bool(self._blob(url).exists())

    def size(self, url: str) -> int:
        return int(self._existing(url).size)

    def version_of(self, url: str) -> str:
        return str(self._existing(url).generation)

    def delete(self, url: str) -> None:
        with contextlib.suppress(FileNotFoundError), _as_os_errors(url):
            self._blob(url).delete(retry=None)

    def delete_tree(self, prefix: str) -> None:
        # All are tried before the first failure is told, so that another attempt has only what is left.
        with ThreadPoolExecutor(_DELETERS) as pool:
            deletions = [pool.submit(self.delete, url) for url in self.list_files(prefix)]
        for deletion in deletions:
            deletion.result()


@contextlib.contextmanager
def _as_os_errors(url: str) -> Iterator[None]:
    """Google's errors as the ones that every store raises."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests import exceptions as connection

    try:
        yield
    except exceptions.NotFound:
        raise FileNotFoundError(url) from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise PermissionError(f"{url}: {error.message}") from None
    except (exceptions.GatewayTimeout, exceptions.RetryError) as error:
        raise TimeoutError(f"{url}: {error.message}") from None
    except connection.Timeout:
        raise TimeoutError(f"{url}: no answer in time") from None
    except (connection.ConnectionError, connection.ChunkedEncodingError) as error:
        raise TransientError(f"{url}: {type(error).__name__}") from None
    except (exceptions.ServerError, exceptions.TooManyRequests) as error:
        raise TransientError(f"{url}: {error.message}") from None
    except GoogleAuthError as error:
        said = f"{url}: no credentials, {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        if isinstance(error, TransportError) or error.retryable:
            raise TransientError(said) from None
        raise PermissionError(said) from None


def _split(url: str) -> tuple[str, str]:
    assert scheme_of(url) == "gs", url
    bucket, _, name = url.split("://", 1)[1].partition("/")
    return bucket, name


def _reader(bucket: str) -> Any:
    from obstore.store import GCSStore

    client: Any = GCSStore  # Its options are typed dictionaries.
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return client(bucket, client_options=client_options(allow_http=False), retry_config=NO_RETRIES)
    base = emulator if "://" in emulator else f"http://{emulator}"
    account = {"gcs_base_url": base, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return client(
        bucket,
        config={"service_account_key": json.dumps(account)},
        client_options=client_options(allow_http=True),
        retry_config=NO_RETRIES,
    )
