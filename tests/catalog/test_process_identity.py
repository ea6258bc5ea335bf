from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

from catalog.process_identity import ProcessIdentity

SAY = "from catalog.process_identity import ProcessIdentity as P; print(*vars(P.own()).values(), flush=True); input()"


def child() -> tuple[subprocess.Popen[str], ProcessIdentity]:
    """A process that waits, and who it says that it is."""
    process = subprocess.Popen([sys.executable, "-c", SAY], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    host, boot, namespace, pid, started = process.stdout.readline().split()
    return process, ProcessIdentity(host, boot, namespace, int(pid), started)


def test_a_process_is_dead_when_it_was_killed_and_not_before() -> None:
    process, identity = child()
    assert not identity.is_dead()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_dead()  # Though nobody has asked for its exit code yet.
    process.communicate()
    assert identity.is_dead()


def test_another_process_with_the_number_of_a_dead_one_does_not_bring_it_back() -> None:
    own = ProcessIdentity.own()
    assert not own.is_dead()
    assert replace(own, started="1").is_dead()


def test_nothing_is_known_of_a_process_on_another_machine_boot_or_container() -> None:
    gone = replace(ProcessIdentity.own(), started="1")
    assert gone.is_dead()
    for name in ("host", "boot", "namespace"):
        assert not replace(gone, **{name: "other"}).is_dead()
        assert not replace(gone, **{name: ""}).is_dead()
