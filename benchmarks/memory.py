"""Peak memory of a program, as the operating system saw it."""

from __future__ import annotations

import os
import subprocess
import sys


def peak_megabytes(arguments: list[str]) -> float:
    """Runs `python ARGUMENTS` to its end; the most memory that it held at once, in MB (2**20 bytes)."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()
    return usage.ru_maxrss / 1024
