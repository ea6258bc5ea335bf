"""Real object stores on loopback, for the tests of the storage door."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY, absent


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """fake-gcs-server, which honours generation preconditions; yields the URL of an empty bucket."""
    binary = shutil.which("fake-gcs-server", path=f"{REPOSITORY / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        absent("fake-gcs-server (install Go and run `make tools`)")
    assert binary is not None
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    command += ["-external-url", address, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    with (folder / "gcs.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    os.environ["STORAGE_EMULATOR_HOST"] = address
    try:
        _wait_for(f"{address}/storage/v1/b?project=test")
        request = urllib.request.Request(
            f"{address}/storage/v1/b?project=test", b'{"name": "bucket"}', {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).read()
        yield "gs://bucket"
    finally:
        os.environ.pop("STORAGE_EMULATOR_HOST")
        if before is not None:
            os.environ["STORAGE_EMULATOR_HOST"] = before
        server.terminate()
        server.wait(10)


def _wait_for(url: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
