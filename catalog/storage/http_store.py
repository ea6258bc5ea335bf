"""Web servers, read-only: only public addresses, few redirects, a deadline, and no secret in any error."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from catalog.errors import UsageError
from catalog.storage.base import Fetched, Store, TransientError
from catalog.storage.http_address import Resolver, WebAddress, parse
from catalog.storage.http_connection import Connections, Patience, due_within
from catalog.storage.locations import redact

_MOST_REDIRECTS = 5
_MOST_ADDRESSES = 3
_CHUNK = 1 << 16
_WORTH_READING = 1 << 14  # The rest of an answer up to this size costs less than a new connection.
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_GOOD = frozenset((200, 203, 204))
# Answers to HEAD that say nothing of a GET: signatures are made for one method, and not every server knows HEAD.
_NOT_FOR_HEAD = frozenset((400, 401, 403, 405, 501))
_HEADERS = {"User-Agent": "catalog-indexer", "Accept": "*/*", "Accept-Encoding": "identity"}


class HttpStore(Store):
    """`http` and `https`. A strong ETag is the version, else the time of the last change together with the size."""

    def __init__(
        self, allow_private: bool = False, patience: Patience | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        """
        Args:
            allow_private: whether private networks and this machine may be asked: for tests and closed networks.
            patience: how long servers are waited for.
            context: how certificates are checked; None means by the certificates that the system trusts.
        """
        self._patience = patience or Patience()
        self._resolver = Resolver(allow_private)
        self._connections = Connections(self._patience, context)

    def fetch(self, url: str, limit: int) -> Fetched:
        with self._opened("GET", url, self._patience.total) as (response, shown):
            _check_status(response, shown)
            data = b"".join(_chunks(response, limit))
            return Fetched(data, _version(response))

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        if limit is not None:
            return self.fetch(url, limit).data
        with self.open_read(url) as file:
            return file.read()

    def open_read(self, url: str) -> BinaryIO:
        """The whole object in a temporary file, which is seekable as the door promises."""
        file = tempfile.TemporaryFile(prefix="catalog-indexer-")  # noqa: SIM115 - it is the caller's
        try:
            with self._opened("GET", url, self._patience.download) as (response, shown):
                _check_status(response, shown)
                for chunk in _chunks(response, None):
                    file.write(chunk)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return cast(BinaryIO, file)

    def version_of(self, url: str) -> str:
        """A server that says nothing by which two versions could be told apart raises OSError: read the object."""
        if not (version := _version(self._head(url))):
            raise OSError(f"{redact(url)}: the server gives no version: neither an ETag nor a time and a size")
        return version

    def size(self, url: str) -> int:
        if (length := _length(self._head(url))) is None:
            raise OSError(f"{redact(url)}: the server gives no size")
        return int(length)

    def exists(self, url: str) -> bool:
        try:
            self._head(url)
        except FileNotFoundError:
            return False
        return True

    def expand(self, pattern: str) -> list[str]:
        return [pattern] if self.exists(pattern) else []

    def list_files(self, prefix: str) -> Iterator[str]:
        raise UsageError(f"{redact(prefix)}: the files of a web server cannot be listed; use a local path or a bucket")

    def create(self, url: str, data: bytes) -> None:
        _refuse_to_write(url)

    def write(self, url: str, data: bytes) -> None:
        _refuse_to_write(url)

    def put_file(self, local_path: Path, url: str) -> None:
        _refuse_to_write(url)

    def compare_and_swap(self, url: str, data: bytes, token: str | None) -> None:
        _refuse_to_write(url)

    def delete(self, url: str) -> None:
        _refuse_to_write(url)

    def delete_tree(self, prefix: str) -> None:
        _refuse_to_write(prefix)

    def _head(self, url: str) -> BaseHTTPResponse:
        """An answer without its body: to HEAD, or to a GET of one byte where HEAD is not allowed."""
        with self._opened("HEAD", url, self._patience.total) as (response, shown):
            if response.status not in _NOT_FOR_HEAD:
                _check_status(response, shown)
                return response
        with self._opened("GET", url, self._patience.total, {"Range": "bytes=0-0"}) as (response, shown):
            if response.status != 206:
                _check_status(response, shown)
            return response

    @contextlib.contextmanager
    def _opened(
        self, method: str, url: str, seconds: float, more: dict[str, str] | None = None
    ) -> Iterator[tuple[BaseHTTPResponse, str]]:
        """The answer at the end of the redirects, of any status, and the URL that gave it, for messages."""
        address = parse(url)
        try:
            with due_within(seconds, self._patience.read):
                for _ in range(_MOST_REDIRECTS + 1):
                    response = self._ask(method, address, more or {})
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or not location:
                        break
                    _finish(response)
                    address = address.follow(location)
                else:
                    raise OSError(f"{redact(url)}: more than {_MOST_REDIRECTS} redirects")
                try:
                    yield response, address.shown
                finally:
                    _finish(response)
        except HTTPError as error:
            raise _as_os_error(error, address.shown) from None
        except TimeoutError:
            raise TimeoutError(f"{address.shown}: the server took too long") from None

    def _ask(self, method: str, address: WebAddress, more: dict[str, str]) -> BaseHTTPResponse:
        headers = {**_HEADERS, **more}
        if address.authorization:
            headers["Authorization"] = address.authorization
        ips = self._resolver.addresses(address)[:_MOST_ADDRESSES]
        for ip in ips[:-1]:
            with contextlib.suppress(ConnectTimeoutError):  # Which is also a refused connection.
                return self._connections.request(method, address, ip, headers)
        return self._connections.request(method, address, ips[-1], headers)


def _refuse_to_write(url: str) -> NoReturn:
    raise UsageError(f"{redact(url)}: nothing is written to web servers; use a local path or gs://")


def _chunks(response: BaseHTTPResponse, limit: int | None) -> Iterator[bytes]:
    left = limit
    while left is None or left > 0:
        if not (chunk := response.read(_CHUNK if left is None else min(left, _CHUNK))):
            return
        yield chunk
        left = None if left is None else left - len(chunk)


def _finish(response: BaseHTTPResponse) -> None:
    """Leaves the connection for the next request where little is left to read, and closes it otherwise."""
    with contextlib.suppress(HTTPError, OSError):
        left = response.length_remaining
        if left is not None and left <= _WORTH_READING:
            response.read()
            response.release_conn()
    response.close()


def _check_status(response: BaseHTTPResponse, shown: str) -> None:
    """Raises the error that stands for the answer, if it is not an object's bytes as they are."""
    status = response.status
    message = f"{shown}: the server answers {status}"
    if status in (404, 410):
        raise FileNotFoundError(message)
    if status in (401, 403, 451):
        raise PermissionError(message)
    if status == 408:
        raise TimeoutError(message)
    if status == 429 or status >= 500:
        raise TransientError(message, _retry_after(response.headers.get("Retry-After")))
    if status not in _GOOD:
        raise OSError(message)
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise OSError(f"{shown}: the server sends the file in an encoding that was not asked for")


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or a date."""
    if text is None:
        return None
    try:
        if text.strip().isdecimal():
            return float(int(text))
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _version(response: BaseHTTPResponse) -> str:
    """What changes when the object does; "" where the server says nothing like it."""
    etag, modified = response.headers.get("ETag", "").strip(), response.headers.get("Last-Modified", "").strip()
    length = _length(response)
    if etag.strip('"') and not etag.startswith("W/"):
        version = etag.strip('"')
    elif modified and length is not None:
        version = f"{length}-{modified}"
    else:
        return ""
    return version if len(version) <= 200 else hashlib.sha256(version.encode()).hexdigest()


def _length(response: BaseHTTPResponse) -> str | None:
    """Bytes of the whole object, also where a part of it was asked for."""
    if response.status == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2].strip()
    else:
        length = response.headers.get("Content-Length", "").strip()
    return length if length.isdecimal() and len(length) < 20 else None


def _as_os_error(error: HTTPError, shown: str) -> OSError:
    """urllib3's error as the one that every store raises. It may quote the whole URL, so its text is not used."""
    if isinstance(error, NewConnectionError):  # A kind of timeout to urllib3.
        return TransientError(f"{shown}: the connection was refused or failed")
    if isinstance(error, HTTPTimeoutError):
        return TimeoutError(f"{shown}: the server took too long")
    if isinstance(error, SSLError):
        if error.args and isinstance(error.args[0], ssl.SSLCertVerificationError):
            return OSError(f"{shown}: the server's certificate is not trusted: {error.args[0].verify_message}")
        return TransientError(f"{shown}: the encrypted connection failed")
    if isinstance(error, ProtocolError):
        return TransientError(f"{shown}: the connection was lost")
    return OSError(f"{shown}: the answer could not be read ({type(error).__name__})")
