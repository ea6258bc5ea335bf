"""A web server of drawn pictures that takes its time and counts how often it was asked for each."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.conftest import draw_picture

_DIFFERENT = 40


class PictureServer(ThreadingHTTPServer):
    """Answers `/<number>.png`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seconds = seconds
        self.reads: Counter[int] = Counter()
        self.counting = threading.Lock()
        self.pictures = [_png(number) for number in range(_DIFFERENT)]

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{number}.png"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PictureServer

    def do_GET(self) -> None:
        number = int(self.path.strip("/").removesuffix(".png"))
        with self.server.counting:
            self.server.reads[number] += 1
        time.sleep(self.server.seconds)
        body = self.server.pictures[number % _DIFFERENT]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{number % _DIFFERENT}"')
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


def _png(number: int) -> bytes:
    data = io.BytesIO()
    draw_picture(number, (32, 32)).save(data, "PNG")
    return data.getvalue()


@contextlib.contextmanager
def picture_server(seconds: float) -> Iterator[PictureServer]:
    """The server, listening on loopback while the body runs."""
    server = PictureServer(seconds)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
