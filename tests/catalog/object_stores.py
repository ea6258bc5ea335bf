"""Real object stores on loopback, for the tests of the storage door."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from catalog import storage
from tests.conftest import REPOSITORY, absent


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary(name: str) -> str:
    found = shutil.which(name, path=f"{REPOSITORY / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        absent(f"{name} (install Go and run `make tools`)")
    assert found is not None
    return found


@contextlib.contextmanager
def _running(command: list[str], log: Path, settings: dict[str, str], address: str) -> Iterator[None]:
    """A server while the body runs, and the environment variables that lead to it. No client of another one is kept."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    with log.open("w") as sink:
        server = subprocess.Popen(command, stdout=sink, stderr=sink)
    try:
        _wait_for(address)
        storage._store.cache_clear()
        yield
    finally:
        storage._store.cache_clear()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """fake-gcs-server, which honours generation preconditions; yields the URL of an empty bucket."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [_binary("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-external-url", address, "-public-host", f"127.0.0.1:{port}"]
    command += ["-log-level", "error"]
    with _running(command, folder / "gcs.log", {"STORAGE_EMULATOR_HOST": address}, address):
        request = urllib.request.Request(
            f"{address}/storage/v1/b?project=test", b'{"name": "bucket"}', {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).read()
        yield "gs://bucket"


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Versity's S3 gateway, which honours If-Match and If-None-Match; yields the URL of an empty bucket."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    (folder / "objects" / "bucket").mkdir(parents=True)
    command = [_binary("versitygw"), "--port", f"127.0.0.1:{port}", "--access", "test", "--secret", "test-secret"]
    command += ["--quiet", "posix", str(folder / "objects")]
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_REGION": "us-east-1",
    }
    with _running(command, folder / "s3.log", settings, address):
        yield "s3://bucket"


def _wait_for(address: str, seconds: float = 20) -> None:
    """Waits until the server answers, whatever it says."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).read()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
