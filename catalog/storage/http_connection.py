"""Connections to web servers: to one checked IP address each, kept for the next request, with a deadline for all of it.

A timeout of a socket starts anew with every byte, so a server that sends one byte a minute would hold a thread for
ever. Here every read knows when the whole answer is due.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from catalog.storage.http_address import WebAddress


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds.

    Attributes:
        connect: for a connection.
        read: for the next bytes.
        total: for one whole operation, redirects included.
        download: for one whole file that is not an image, such as a catalog.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 60.0
    download: float = 3600.0


_now = threading.local()  # .due and .read of the operation that this thread is in


@contextlib.contextmanager
def due_within(seconds: float, read: float) -> Iterator[None]:
    """Every read of this thread ends when the time is over, with TimeoutError."""
    _now.due, _now.read = time.monotonic() + seconds, read
    try:
        yield
    finally:
        del _now.due, _now.read


def _left(longest: float) -> float:
    left = float(_now.due - time.monotonic())
    if left <= 0:
        raise TimeoutError("the answer took too long")
    return min(longest, left)


class _TimedSocket(socket.socket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(_now.read))
        return super().recv_into(*args, **options)


class _TimedTlsSocket(ssl.SSLSocket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(_now.read))
        return super().recv_into(*args, **options)


class _TimedConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        plain = self.sock
        timeout = plain.gettimeout()
        self.sock = _TimedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.sock.settimeout(timeout)


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class Connections:
    """Pools of connections, one for each server and IP address, the least used ones forgotten. Thread-safe."""

    def __init__(self, patience: Patience, context: ssl.SSLContext | None = None, most: int = 64) -> None:
        """
        Args:
            patience: how long servers are waited for.
            context: how certificates are checked; None means by the certificates that the system trusts.
            most: pools that are kept.
        """
        self._patience = patience
        self._context = context or ssl.create_default_context()
        self._context.sslsocket_class = _TimedTlsSocket
        self._most = most
        self._pools: OrderedDict[tuple[str, str, int, str], HTTPConnectionPool] = OrderedDict()
        self._lock = threading.Lock()

    def request(
        self, method: str, address: WebAddress, ip: str, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """One request to the server of `address` at `ip`; the body is not read yet. Raises urllib3's errors."""
        return self._pool(address, ip).urlopen(
            method,
            address.target,
            headers={"Host": address.host_header, **headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=_left(self._patience.connect), read=_left(self._patience.read)),
        )

    def _pool(self, address: WebAddress, ip: str) -> HTTPConnectionPool:
        key = (address.scheme, ip, address.port, address.host)
        with self._lock:
            pool = self._pools.pop(key, None) or self._make(address, ip)
            self._pools[key] = pool
            while len(self._pools) > self._most:
                self._pools.popitem(last=False)  # Its connections close with the last request that uses it.
            return pool

    def _make(self, address: WebAddress, ip: str) -> HTTPConnectionPool:
        if address.scheme == "http":
            return _TimedPool(ip, address.port, maxsize=64)
        # The name is the certificate's and the server's; the address is the one that was checked.
        return HTTPSConnectionPool(
            ip, address.port, maxsize=64, ssl_context=self._context, server_hostname=address.host.rstrip(".")
        )


class _WithoutQueries(logging.Filter):
    """Takes queries, where signatures are, out of what urllib3 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?[^\s\"']*", "", record.getMessage()), ()
        return True


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_WithoutQueries())
