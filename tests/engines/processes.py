"""Processes of a cluster: started with a log file each, waited for, and ended by id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.conftest import REPOSITORY, absent

LIBRARIES = REPOSITORY / ".tools" / "engines"
BOOT = REPOSITORY / ".tools" / "bin" / "beam-boot"
# Java 17 keeps these to itself, and both engines look inside.
_OPENED = ("java.lang", "java.lang.invoke", "java.net", "java.nio", "java.util", "java.util.concurrent", "sun.nio.ch")
_PATIENCE = 90.0
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str, patience: float = _PATIENCE) -> None:
    """Raises TimeoutError when `what` has not come after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {patience:g} s")
        time.sleep(0.1)


def answers(url: str) -> bytes | None:
    """What a server on loopback says; None while it does not."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())
    return None


def require_engine(name: str) -> Path:
    """The folder with an engine's jars, which `make engines` fills."""
    folder = LIBRARIES / name
    if shutil.which("java") is None:
        absent("Java")
    if not (folder / "job-server.jar").is_file():
        absent(f"{name} ({folder.relative_to(REPOSITORY)}, see `make engines`)")
    if not BOOT.is_file():
        absent(f"Beam's boot program ({BOOT.relative_to(REPOSITORY)}, see `make engines`)")
    return folder


def _end_with_parent() -> None:
    """Has the kernel end this process when the one that started it is gone, whatever became of that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """What a cluster is made of. Every process leads a group of its own, so that what it started ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start_java(
        self,
        name: str,
        classpath: str,
        main: str,
        arguments: Sequence[str],
        memory: str,
        env: Mapping[str, str],
        core: int | None = None,
    ) -> None:
        """Starts a Java program, on one core if that is given; what it says goes to `<name>.log`."""
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
        command = [
            *pinned,
            "java",
            f"-Xmx{memory}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            *opened,
            "-cp",
            classpath,
            main,
            *arguments,
        ]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **env},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def kill(self, name: str) -> None:
        """SIGKILL to one process and what it started."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Ends all, the last started first."""
        for process in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._running.clear()
