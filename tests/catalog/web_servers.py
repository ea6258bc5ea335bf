"""A web server on loopback that answers as it is told, for the tests of what is read over http."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What a path gives. `status` may depend on the method; `after` runs in place of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    of_head: int | None = None
    instead: Callable[[http.server.BaseHTTPRequestHandler], None] | None = None


@dataclass
class Site:
    """A running server: its address, the answer to each path, and what it was asked."""

    port: int
    answers: dict[str, Answer]
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def count(self, path: str) -> int:
        """Requests for a path, whatever the query."""
        return sum(target.partition("?")[0] == path for _, target, _ in self.asked)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # A client that went away is what some tests are about.


@contextlib.contextmanager
def web_server(answers: dict[str, Answer], tls: Any = None) -> Iterator[Site]:
    """Serves `answers` by path, the query left out; other paths are 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            site.asked.append((self.command, self.path, dict(self.headers)))
            site.connections.add(self.client_address)
            answer = site.answers.get(self.path.partition("?")[0], Answer(status=404))
            if answer.instead is not None:
                answer.instead(self)
                self.close_connection = True
                return
            self.send_response(answer.of_head if answer.of_head and self.command == "HEAD" else answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site = Site(server.server_port, dict(answers))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
