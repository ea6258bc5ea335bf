from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from catalog import storage
from catalog.errors import ConflictError
from catalog.storage.base import TransientError
from catalog.storage.retry import Retrier, RetryBudget, RetryPolicy
from tests.catalog.fault_store import Fault, FaultStore


class Failing:
    """An operation that fails a number of times before it succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.told: list[int] = []

    def __call__(self, failures: int) -> str:
        self.told.append(failures)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_what_passes_is_tried_again_with_growing_waits() -> None:
    waits: list[float] = []
    operation = Failing(*(TransientError("busy") for _ in range(4)))
    assert Retrier(RetryPolicy(attempts=5, first_delay=1.0), sleep=waits.append)(operation) == "done"
    assert operation.told == [0, 1, 2, 3, 4]
    assert len(waits) == 4
    assert all(0 <= wait <= limit for wait, limit in zip(waits, (1, 2, 4, 8), strict=True))


def test_waits_are_jittered_over_the_whole_interval_and_capped() -> None:
    policy = RetryPolicy(first_delay=1.0, longest_delay=5.0)
    assert policy.delay(3, None, lambda: 0.0) == 0.0
    assert policy.delay(3, None, lambda: 1.0) == 4.0
    assert policy.delay(9, None, lambda: 1.0) == 5.0
    assert policy.delay(1, 3.0, lambda: 0.5) == 3.0  # What the server asked for.
    assert policy.delay(1, 3_600.0, lambda: 0.5) == 5.0


def test_attempts_end_and_what_does_not_pass_is_tried_once() -> None:
    operation = Failing(*(TimeoutError("late") for _ in range(9)))
    with pytest.raises(TimeoutError):
        Retrier(RetryPolicy(attempts=3), sleep=lambda _: None)(operation)
    assert len(operation.told) == 3
    operation = Failing(FileNotFoundError("x"), FileNotFoundError("x"))
    with pytest.raises(FileNotFoundError):
        Retrier(sleep=lambda _: None)(operation)
    assert len(operation.told) == 1


def test_a_store_that_is_down_is_not_asked_more_often_than_the_budget_allows() -> None:
    retrier = Retrier(RetryPolicy(attempts=5), lambda: RetryBudget(most=10, earned=0.1), sleep=lambda _: None)
    asked = 0
    for _ in range(100):
        operation = Failing(*(TransientError("down") for _ in range(9)))
        with pytest.raises(TransientError):
            retrier(operation)
        asked += len(operation.told)
    assert asked == 100 + 10
    for _ in range(30):
        retrier(Failing())
    assert retrier(Failing(TransientError("once"))) == "done"  # Thirty successes have earned three retries.


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.REFUSED])
def test_a_create_whose_answer_was_lost_has_happened_once(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    store = FaultStore()
    monkeypatch.setattr(storage, "store_for", lambda url: store)
    monkeypatch.setattr(storage, "retrier", Retrier(sleep=lambda _: None))
    store.plan({0: fault})
    storage.create("memory://x/claim", b"mine")
    assert store.objects["memory://x/claim"][0] == b"mine"
    store.plan({0: fault})
    with pytest.raises(ConflictError):
        storage.create("memory://x/claim", b"another's")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A server of S3's protocol that gives these status codes, one a request, and then the object."""
    codes: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
            self.end_headers()

        def do_GET(self) -> None:
            code = codes.pop(0) if codes else 200
            body = b"picture" if code == 200 else b"<Error><Code>SlowDown</Code></Error>"
            ranged = code == 200 and "Range" in self.headers
            self.send_response(206 if ranged else code)
            if ranged:
                self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in (("ENDPOINT_URL", address), ("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s")):
        monkeypatch.setenv(f"AWS_{name}", value)
    storage._store.cache_clear()
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=4), sleep=lambda _: None))
    yield codes
    server.shutdown()
    thread.join()
    server.server_close()
    storage._store.cache_clear()


def test_throttling_and_server_errors_of_a_store_are_tried_again(answers: list[int]) -> None:
    answers += [429, 503, 500]
    assert storage.fetch("s3://bucket/photo.jpg", 100) == storage.base.Fetched(b"picture", "one")
    assert storage.retrier.retries == 3
    answers += [503] * 4
    with pytest.raises(TransientError, match=r"s3://bucket/photo\.jpg: .*503"):
        storage.fetch("s3://bucket/photo.jpg", 100)


def test_a_file_that_is_being_read_survives_a_server_error(answers: list[int]) -> None:
    with storage.open_read("s3://bucket/photo.jpg") as file:
        answers += [503, 500]
        assert file.read(7) == b"picture"
    assert storage.retrier.retries == 2


def test_a_host_that_is_down_does_not_spend_the_retries_of_another() -> None:
    retrier = Retrier(RetryPolicy(attempts=5), lambda: RetryBudget(most=3), sleep=lambda _: None)
    for _ in range(10):
        with pytest.raises(TransientError):
            retrier(Failing(*(TransientError("down") for _ in range(9))), "https://dead/a.jpg")
    assert retrier(Failing(TransientError("once")), "gs://embeddings/store.json") == "done"


@pytest.mark.parametrize(("code", "kind"), [(404, FileNotFoundError), (403, PermissionError), (400, OSError)])
def test_a_refusal_of_a_store_is_final(answers: list[int], code: int, kind: type[OSError]) -> None:
    answers += [code] * 2
    with pytest.raises(kind):
        storage.fetch("s3://bucket/photo.jpg", 100)
    assert storage.retrier.retries == 0
    assert len(answers) == 1
