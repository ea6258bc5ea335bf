"""An object store on loopback, far away: a folder behind S3's protocol, each answer after a fixed time."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from email.utils import formatdate
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import unquote


@contextlib.contextmanager
def slow_store(folder: Path, seconds: float) -> Iterator[str]:
    """Serves the files below `folder` while the body runs; yields the URL that they are below. For reading only."""
    from catalog import storage

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(str(folder), seconds, theirs), daemon=True)
    server.start()
    settings = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ours.recv()}", "AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "x"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    storage._store.cache_clear()
    try:
        yield "s3://far-away"
    finally:
        server.terminate()
        server.join()
        storage._store.cache_clear()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _serve(folder: str, seconds: float, announce: Connection) -> None:
    asyncio.run(_answer_for_ever(Path(folder), seconds, announce))


async def _answer_for_ever(folder: Path, seconds: float, announce: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                method, target = request.split(b" ", 2)[:2]
                await asyncio.sleep(seconds)
                writer.write(_response(folder, method.decode(), target.decode()))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    announce.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _response(folder: Path, method: str, target: str) -> bytes:
    path = folder / unquote(target.split("?")[0]).split("/", 2)[2]  # Without the bucket.
    if not path.is_file():
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    data = path.read_bytes()
    modified = formatdate(path.stat().st_mtime, usegmt=True)
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nETag: "{len(data)}"\r\nLast-Modified: {modified}\r\n\r\n'
    return head.encode() + (data if method == "GET" else b"")
