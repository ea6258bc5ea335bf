"""Fixtures for the tests of stores: object stores and a site on loopback, a store that may ask it, names that lead
where we say."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from catalog.storage.http_connection import Patience
from catalog.storage.http_store import HttpStore
from tests.catalog.object_stores import gcs_server, s3_server
from tests.catalog.web_servers import Site, web_server

Resolve = Callable[[dict[str, list[str]]], None]


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of Google's kind."""
    with gcs_server(tmp_path_factory.mktemp("gcs")) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of Amazon's kind."""
    with s3_server(tmp_path_factory.mktemp("s3")) as bucket:
        yield bucket


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server({}) as running:
        yield running


@pytest.fixture
def store() -> HttpStore:
    return HttpStore(allow_private=True, patience=Patience(connect=2, read=2, total=4))


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Makes names lead to addresses; a list of several is given one after the other, as a rebinding server does."""
    real, names = socket.getaddrinfo, {}

    def look_up(host: str, *args: object, **options: object) -> object:
        if host in names:
            answers = names[host]
            host = answers.pop(0) if len(answers) > 1 else answers[0]
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names.update
