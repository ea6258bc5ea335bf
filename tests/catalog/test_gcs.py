"""Google's own client against a server on loopback: lost answers, replaced objects, credentials that do not come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth import exceptions as auth

from catalog import storage
from catalog.channel import Channel, Pointer, read_channel, write_channel
from catalog.errors import ConflictError
from catalog.lease import Lease
from catalog.storage.base import TransientError
from catalog.storage.gcs import GcsStore
from catalog.storage.retry import Retrier, RetryPolicy

Request = Callable[..., requests.Response]


@pytest.fixture
def retrier(monkeypatch: pytest.MonkeyPatch) -> Retrier:
    found = Retrier(RetryPolicy(attempts=3), sleep=lambda _: None)
    monkeypatch.setattr(storage, "retrier", found)
    return found


class Wire:
    """Every request of the client. The answer to the first one of a kind is lost, after the server did what it asks."""

    def __init__(self, real: Request, *kinds: str) -> None:
        self.real = real
        self.kinds = kinds
        self.asked = 0

    def __call__(self, session: requests.Session, method: str, url: str, *args: Any, **options: Any) -> Any:
        answer = self.real(session, method, url, *args, **options)
        if method in self.kinds:
            self.asked += 1
            if self.asked == 1:
                raise requests.exceptions.ConnectionError("the connection was reset")
        return answer


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Wire]:
    def lose(*kinds: str) -> Wire:
        wire = Wire(requests.Session.request, *kinds)
        monkeypatch.setattr(requests.Session, "request", lambda *args, **options: wire(*args, **options))
        return wire

    return lose


def test_a_create_whose_answer_is_lost_is_done_and_counted_as_a_retry(
    gcs: str, retrier: Retrier, losing: Callable[..., Wire]
) -> None:
    wire = losing("POST", "PUT")
    storage.create(f"{gcs}/created", b"mine")
    assert (wire.asked, retrier.retries) == (2, 1)
    assert storage.read_bytes(f"{gcs}/created") == b"mine"
    with pytest.raises(ConflictError):
        storage.create(f"{gcs}/created", b"mine")


def test_a_swap_whose_answer_is_lost_is_done_and_another_ones_is_a_conflict(
    gcs: str, retrier: Retrier, losing: Callable[..., Wire]
) -> None:
    root = f"{gcs}/artifacts/shop"
    losing("POST", "PUT")
    write_channel(root, Channel("prod").promoted(Pointer("v1", "a" * 64, 1), {}))
    assert (read_channel(root, "prod").pointer, retrier.retries) == (Pointer("v1", "a" * 64, 1), 1)
    losing("POST", "PUT")
    assert Lease(f"{root}/locks/nightly.json", "mine", 60).take() is None
    assert retrier.retries == 2
    _, token = storage.read_with_token(f"{root}/locks/nightly.json")
    storage.compare_and_swap(f"{root}/locks/nightly.json", b"another", token)
    losing("POST", "PUT")
    with pytest.raises(ConflictError):
        storage.compare_and_swap(f"{root}/locks/nightly.json", b"third", token)


def test_a_write_a_file_and_a_delete_are_tried_again_by_the_door(
    gcs: str, retrier: Retrier, losing: Callable[..., Wire], tmp_path: Path
) -> None:
    url, path = f"{gcs}/written", tmp_path / "file"
    losing("POST", "PUT")
    storage.write(url, b"written")
    assert (storage.read_bytes(url), retrier.retries) == (b"written", 1)
    path.write_bytes(b"from a file")
    losing("POST", "PUT")
    storage.put_file(path, url)
    assert (storage.read_bytes(url), retrier.retries) == (b"from a file", 2)
    losing("DELETE")
    storage.delete(url)
    assert (storage.exists(url), retrier.retries) == (False, 3)


def test_of_a_file_that_goes_in_pieces_one_piece_is_sent_again(
    gcs: str, retrier: Retrier, losing: Callable[..., Wire], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (9 << 20))
    wire = losing("POST")  # The one that begins it.
    storage.put_file(path, f"{gcs}/large")
    assert (wire.asked, retrier.retries) == (2, 0)
    assert storage.size(f"{gcs}/large") == 9 << 20


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(
    gcs: str, retrier: Retrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store, asked = f"{gcs}/token", GcsStore(), []
    store.write(url, b"0")
    real = requests.Session.request

    def request(session: requests.Session, method: str, address: str, *args: Any, **options: Any) -> Any:
        if "ifGenerationMatch" in address and method == "GET":
            asked.append(address)
            if len(asked) <= changes:  # Google's answer; the server on loopback gives the new bytes instead.
                store.write(url, str(len(asked)).encode())
                answer = requests.Response()
                answer.status_code, answer._content = 412, b""
                answer.request = requests.Request(method, address).prepare()
                return answer
        return real(session, method, address, *args, **options)

    monkeypatch.setattr(requests.Session, "request", request)
    changes = 3
    data, token = storage.read_with_token(url)
    assert (data, len(asked), retrier.retries) == (b"3", 4, 0)
    storage.compare_and_swap(url, b"swapped", token)
    changes = 1_000
    with pytest.raises(TransientError, match="token was replaced 10 times while it was read"):
        store.read_with_token(url)


def test_an_object_that_is_deleted_while_it_is_read_is_not_there(gcs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url, store = f"{gcs}/gone", GcsStore()
    store.write(url, b"0")
    real = GcsStore._existing

    def existing(self: GcsStore, url: str) -> Any:
        blob = real(self, url)
        store.delete(url)
        return blob

    monkeypatch.setattr(GcsStore, "_existing", existing)
    assert storage.read_with_token(url) == (None, None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (auth.TransportError("the metadata server did not answer\nnow"), TransientError),
        (auth.RefreshError("try later", retryable=True), TransientError),
        (auth.RefreshError("the token was revoked"), PermissionError),
    ],
)
def test_credentials_that_do_not_come_are_an_error_of_the_store(
    gcs: str, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[OSError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    store = GcsStore()
    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(kind, match=r"x: no credentials, (the|try)[^\n]*$") as raised:
        store.create(f"{gcs}/x", b"")
    assert type(raised.value) is kind
    if kind is PermissionError:  # Of the others the client tries again to read, for minutes.
        for ask in (store.read_with_token, store.exists, store.size):
            with pytest.raises(kind):
                ask(f"{gcs}/x")
