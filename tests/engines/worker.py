"""The SDK worker of a cluster: Beam's boot program, which the engine starts as a process beside each of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.engines.processes import BOOT


class Worker:
    """The program that an engine is told to start. Every one that it starts leaves a file with its process id."""

    def __init__(self, folder: Path) -> None:
        self._pids = folder / "pids"
        self._pids.mkdir()
        self.program = folder / "worker"
        self.program.write_text(
            "#!/bin/sh\n"
            f"touch {self._pids}/$$\n"
            f"mkdir -p {folder}/semi-persistent/$$\n"
            f'exec {BOOT} --semi_persist_dir={folder}/semi-persistent/$$ "$@"\n'
        )
        self.program.chmod(0o755)

    def beam_arguments(self) -> list[str]:
        """The flags that make an engine start its workers so."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        }
        config = json.dumps({"command": str(self.program), "env": environment})
        return ["--environment_type=PROCESS", f"--environment_config={config}"]

    def started(self) -> list[int]:
        """The process ids of all workers that were started, oldest first."""
        files = sorted(self._pids.iterdir(), key=lambda file: file.stat().st_mtime)
        return [int(file.name) for file in files]

    def kill_one(self) -> bool:
        """SIGKILL to the newest worker that lives and to what it started; whether there was one."""
        for pid in reversed(self.started()):
            if _lives(pid):
                for each in [pid, *_children(pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)
                return True
        return False


def _children(pid: int) -> list[int]:
    """What a process started, and what that started."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It may end meanwhile.
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_children(child)]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
