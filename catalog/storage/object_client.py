"""Object stores through obstore: one client a bucket, whose reads wait outside Python's lock.

Measured against the stores' other clients by `python -m benchmarks.object_store`. Retries are the door's, not the
client's, so that one budget holds for all.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

from catalog.storage.base import Fetched, TransientError

#: Seconds of one attempt, from the connection to the last byte.
ATTEMPT_SECONDS = 60
CONNECT_SECONDS = 10
_CONNECTIONS_KEPT = 128
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def client_options(allow_http: bool) -> dict[str, Any]:
    """Options of every client; `allow_http` is for servers on loopback and in closed networks."""
    return {
        "timeout": timedelta(seconds=ATTEMPT_SECONDS),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "pool_max_idle_per_host": str(_CONNECTIONS_KEPT),
        "allow_http": allow_http,
    }


NO_RETRIES: dict[str, Any] = {"max_retries": 0, "retry_timeout": timedelta(seconds=ATTEMPT_SECONDS)}


class ObjectClients:
    """The clients of one scheme, by bucket, made when they are first asked for."""

    def __init__(self, make: Callable[[str], Any], generations: bool) -> None:
        """
        Args:
            make: a client for a bucket.
            generations: whether the store numbers the versions of an object, whose number is its version then.
        """
        self._make = make
        self._generations = generations
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def of(self, bucket: str) -> Any:
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{bucket!r} is no name of a bucket")
        with self._lock:
            if bucket not in self._clients:
                self._clients[bucket] = self._make(bucket)
            return self._clients[bucket]

    def fetch(self, url: str, limit: int) -> Fetched:
        """One request: the first `limit` bytes and the version they are of."""
        bucket, name = split(url)
        if "" in name.split("/"):
            raise ValueError(
                f"{name!r} has an empty part between slashes, which the client of this store does not take"
            )
        with os_errors(url):
            answer = self.of(bucket).get(name)
            if answer.meta["size"] <= limit:
                data = bytes(answer.bytes())
            else:
                parts: list[bytes] = []
                for chunk in answer.stream(min_chunk_size=1 << 20):
                    parts.append(bytes(chunk))
                    if sum(map(len, parts)) >= limit:
                        break
                data = b"".join(parts)[:limit]
        return Fetched(data, self.version(answer.meta))

    def read_range(self, url: str, start: int, length: int) -> bytes:
        """One request: at most `length` bytes from `start` on."""
        bucket, name = split(url)
        try:
            with os_errors(url):
                return bytes(self.of(bucket).get_range(name, start=start, length=length))
        except _BeyondTheEndError:
            return b""

    def version(self, meta: Any) -> str:
        """The generation where the store has one, else the etag, else size and time."""
        generation = meta.get("version") if self._generations else None
        etag = (meta.get("e_tag") or "").strip('"')
        return cast(str, generation or etag or f"{meta['size']}-{meta['last_modified'].timestamp()}")


class _BeyondTheEndError(OSError):
    """A range that begins where the object has ended."""


def split(url: str) -> tuple[str, str]:
    """Bucket and name in `scheme://bucket/name`."""
    bucket, _, name = url.split("://", 1)[1].partition("/")
    return bucket, name


@contextlib.contextmanager
def os_errors(url: str) -> Iterator[None]:
    """obstore's errors as the ones that every store raises."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError):
        raise FileNotFoundError(url) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(f"{url}: {_short(error)}") from None
    except exceptions.GenericError as error:
        raise _from_text(url, error) from None


_PASSING_STATUS = re.compile(r"status(?: code)?:? (408|425|429|5\d\d)")
_LASTING_STATUS = re.compile(r"status(?: code)?:? 4\d\d")


def _from_text(url: str, error: Exception) -> OSError:
    """obstore names every other failure in its text only."""
    text = str(error)
    if "timed out" in text or "TimedOut" in text:
        return TimeoutError(f"{url}: no answer within {ATTEMPT_SECONDS} s")
    if _PASSING_STATUS.search(text) or not _LASTING_STATUS.search(text):
        return TransientError(f"{url}: {_short(error)}")
    if re.search(r"status(?: code)?:? 416", text):
        return _BeyondTheEndError(f"{url}: {_short(error)}")
    if re.search(r"status(?: code)?:? 40[13]", text):
        return PermissionError(f"{url}: {_short(error)}")
    return OSError(f"{url}: {_short(error)}")


def _short(error: Exception) -> str:
    """The first line of what obstore says, without its debug part and without the request's query."""
    return re.sub(r"\?[^\s\"']+", "", str(error).split("\n", 1)[0])[:300]
