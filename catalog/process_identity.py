"""Which process on which machine: enough to tell, on the same machine, whether a process of before is still there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

# States of a process that has ended, though its parent has not asked for its exit code yet.
_ENDED = frozenset("ZXx")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process.

    Attributes:
        host: name of its machine.
        boot: id of the machine's boot; "" where the system has none.
        namespace: in which `pid` counts, for containers of one machine; "" where the system has none.
        pid: its number.
        started: when it started, in the system's own count: another process that got the same number later has another
            one. "" where that is not known.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Of this process."""
        return cls(socket.gethostname(), _boot(), _namespace(), os.getpid(), _started(os.getpid()) or "")

    def is_dead(self) -> bool:
        """Whether the process is known to have ended. Of a process on another machine, nothing is known."""
        seen_from = (socket.gethostname(), _boot(), _namespace())
        if "" in seen_from or seen_from != (self.host, self.boot, self.namespace):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # It is somebody else's.
            pass
        started = _started(self.pid)
        # None where the system does not show the processes of others.
        return bool(self.started) and started is not None and started != self.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Ticks since the boot at which a process started; "ended" for one that waits to be buried, None for none seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] in _ENDED else fields[19]
