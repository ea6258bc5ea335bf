"""What Beam prints of an error that is answered with one sentence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import grpc
import pytest
from apache_beam.runners.worker import sdk_worker

from pipelines.quiet import quieten


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    log = logging.getLogger("apache_beam.runners.worker")
    before = log.level
    yield log
    log.setLevel(before)


def test_a_worker_prints_tracebacks_only_where_it_logs(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    quieten()
    log.setLevel(logging.CRITICAL)
    sdk_worker.print("a traceback")
    assert capsys.readouterr().out == ""
    log.setLevel(logging.ERROR)
    sdk_worker.print("a traceback")
    assert capsys.readouterr().out == "a traceback\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_lost_their_connection_are_silent_and_others_are_not(
    log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    import pipelines.quiet

    pipelines.quiet._leave_out_lost_connections.cache_clear()
    quieten()
    quieten()
    log.setLevel(logging.CRITICAL)

    def end_with(error: Exception) -> None:
        def work() -> None:
            raise error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    end_with(grpc.RpcError("gone"))
    end_with(ValueError("a defect"))
    assert [type(each) for each in told] == [ValueError]
    log.setLevel(logging.ERROR)
    end_with(grpc.RpcError("gone"))
    assert [type(each) for each in told] == [ValueError, grpc.RpcError]
    pipelines.quiet._leave_out_lost_connections.cache_clear()
