from __future__ import annotations

import io

import pytest

from commands import progress as module
from commands.progress import ProgressReport
from pipelines.progress import Progress

HALF_WAY = Progress(done=8, total=16, rows=16_000, seconds=400)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_with_rate_and_time_left_and_takes_it_away_again() -> None:
    terminal = Terminal()
    report = ProgressReport(terminal)
    report(HALF_WAY)
    assert terminal.getvalue().startswith(f"\r[{'#' * 15}{'.' * 15}] 8 of 16 partitions, 20 rows/s, 6:40 left")
    report.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_job_with_stages_shows_what_it_is_at_and_how_much_is_done() -> None:
    terminal = Terminal()
    ProgressReport(terminal)(Progress(done=250, total=1_000, rows=10, seconds=60, stage="training"))
    assert terminal.getvalue() == f"\r[{'#' * 7}{'.' * 23}] training, 25 %, 3:00 left\x1b[K"


def test_elsewhere_there_is_a_line_a_minute_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now, log = [0.0], io.StringIO()
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    report = ProgressReport(log)
    for second in range(150):
        now[0] = float(second)
        report(HALF_WAY)
    report.close()
    assert log.getvalue() == "8 of 16 partitions, 20 rows/s, 6:40 left\n" * 2
