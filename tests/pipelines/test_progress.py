from __future__ import annotations

import threading

import pytest

from pipelines.progress import Progress, watched


def test_rate_and_time_left_are_those_of_this_try() -> None:
    progress = Progress(done=6, total=16, rows=1_600, seconds=10, before=4)
    assert progress.rows_per_second == pytest.approx(20)
    assert progress.seconds_left == pytest.approx(50)
    assert Progress(4, 16, 1_600, 10, before=4).seconds_left is None


def test_progress_is_told_while_the_job_runs_and_once_at_its_end() -> None:
    committed, told = [0], []
    seen = threading.Event()

    def report(progress: Progress) -> None:
        told.append(progress.done)
        seen.set()

    with watched(lambda: committed[0], 4, 100, report, every=0.01):
        committed[0] = 2
        assert seen.wait(10)
        committed[0] = 4
    assert told[0] in (0, 2)
    assert told[-1] == 4


def test_a_look_that_fails_does_not_fail_the_job() -> None:
    looks = iter([0, OSError("busy"), 1, 1, 1])

    def committed() -> int:
        value = next(looks, 1)
        if isinstance(value, OSError):
            raise value
        return value

    told: list[int] = []
    with watched(committed, 1, 1, lambda progress: told.append(progress.done), every=0.01):
        while len(told) < 1:
            pass
    assert told[-1] == 1
