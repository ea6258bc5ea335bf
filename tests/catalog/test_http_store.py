"""Web servers as a store: what is read, its version, and what an answer means. Every server is on loopback."""

from __future__ import annotations

import email.utils
import hashlib
import http.server
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import UsageError
from catalog.storage.base import TransientError
from catalog.storage.http_address import parse
from catalog.storage.http_connection import Connections, Patience, due_within
from catalog.storage.http_store import HttpStore
from tests.catalog.web_servers import Answer, Site


def test_an_object_is_read_with_its_version_in_one_request(site: Site, store: HttpStore) -> None:
    site.answers["/a b/é.jpg"] = site.answers["/a%20b/%C3%A9.jpg"] = Answer(b"0123456789", headers={"ETag": '"v1"'})
    fetched = store.fetch(site.url("/a b/é.jpg?x=1 2#part"), 100)
    assert (fetched.data, fetched.version) == (b"0123456789", "v1")
    method, target, headers = site.asked[0]
    assert (method, target, len(site.asked)) == ("GET", "/a%20b/%C3%A9.jpg?x=1%202", 1)
    assert headers["Host"] == f"127.0.0.1:{site.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert store.read_bytes(site.url("/a%20b/%C3%A9.jpg")) == b"0123456789"
    with store.open_read(site.url("/a%20b/%C3%A9.jpg")) as file:
        file.seek(4)
        assert file.read(3) == b"456"


def test_a_local_copy_is_named_without_its_signature(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/c.csv"] = Answer(b"id,image\n")
    monkeypatch.setenv("CATALOG_HTTP_ALLOW_PRIVATE", "1")
    storage._store.cache_clear()
    copy = storage.local_copy(site.url("/c.csv?sig=SECRET/x"), tmp_path)
    storage._store.cache_clear()
    assert (copy, copy.read_bytes()) == (tmp_path / "c.csv", b"id,image\n")


def test_no_more_than_the_limit_is_read(site: Site, store: HttpStore) -> None:
    sent = []

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            handler.wfile.write(bytes(1 << 16))
            sent.append(1 << 16)

    site.answers["/endless"] = Answer(instead=endless)
    assert store.fetch(site.url("/endless"), 100_001).data == bytes(100_001)
    assert sum(sent) < 30_000_000  # What fits into the buffers of the sockets.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, store: HttpStore, status: int) -> None:
    site.answers["/a"] = Answer(status=status, headers={"Location": "b?c=é x".encode().decode("latin-1")})
    site.answers["/b"] = Answer(b"there", headers={"ETag": '"2"'})
    assert store.fetch(site.url("/a"), 10).data == b"there"
    assert [target for _, target, _ in site.asked] == ["/a", "/b?c=%C3%A9%20x"]
    assert len(site.connections) == 1


def test_the_next_address_is_tried_when_one_does_not_answer(
    site: Site, store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def two(host: str, *args: object, **options: object) -> list:
        if host == "two.test":
            return [(0, 0, 0, "", (ip, site.port)) for ip in ("127.0.0.2", "127.0.0.1")]
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    site.answers["/a"] = Answer(b"here")
    assert store.fetch(site.url("/a", "two.test"), 10).data == b"here"


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///x", "http://[::1/x", "http://a b/x", "http://good.test\\@127.0.0.1/x", "http://h:99999/x"],
)
def test_what_is_no_web_address_is_one_error(store: HttpStore, url: str) -> None:
    with pytest.raises(OSError, match="is not a valid web address"):
        store.fetch(url, 10)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((404, FileNotFoundError), (410, FileNotFoundError), (401, PermissionError), (403, PermissionError)),
        *((451, PermissionError), (408, TimeoutError), (429, TransientError), (500, TransientError)),
        *((503, TransientError), (400, OSError), (202, OSError), (206, OSError), (300, OSError)),
    ],
)
def test_a_status_is_the_error_that_every_store_raises(
    site: Site, store: HttpStore, status: int, kind: type[OSError]
) -> None:
    site.answers["/a"] = Answer(b"page", status)
    with pytest.raises(OSError, match=r"127\.0\.0\.1") as raised:
        store.fetch(site.url("/a?sig=SECRET"), 10)
    assert type(raised.value) is kind
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("in a minute", 60.0),
        ("a minute ago", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_told(
    site: Site, store: HttpStore, text: str | None, seconds: float | None
) -> None:
    dates = {"in a minute": time.time() + 60, "a minute ago": time.time() - 60}
    if text in dates:
        text = email.utils.formatdate(dates[text], usegmt=True)
    site.answers["/a"] = Answer(status=503, headers={"Retry-After": text} if text else {})
    with pytest.raises(TransientError) as raised:
        store.fetch(site.url("/a"), 10)
    assert raised.value.retry_after == (None if seconds is None else pytest.approx(seconds, abs=3))


def test_a_connection_that_is_refused_or_lost_may_pass(site: Site, store: HttpStore) -> None:
    def half(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    site.answers["/half"] = Answer(instead=half)
    site.answers["/none"] = Answer(instead=lambda handler: None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        for url in (site.url("/half"), site.url("/none"), refused):
            with pytest.raises(TransientError):
                store.fetch(url, 10_000)


def test_an_encoding_that_was_not_asked_for_is_refused(site: Site, store: HttpStore) -> None:
    site.answers["/a"] = Answer(b"x", headers={"Content-Encoding": "gzip"})
    with pytest.raises(OSError, match="in an encoding that was not asked for"):
        store.fetch(site.url("/a"), 10)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"abc"', "Last-Modified": "Mon"}, "abc"),
        ({"ETag": 'W/"abc"', "Last-Modified": "Mon"}, "4-Mon"),
        ({"Last-Modified": "Mon"}, "4-Mon"),
        ({"ETag": f'"{"x" * 5_000}"'}, hashlib.sha256(b"x" * 5_000).hexdigest()),
    ],
)
def test_head_and_get_tell_one_version(site: Site, store: HttpStore, headers: dict[str, str], version: str) -> None:
    site.answers["/a"] = Answer(b"data", headers=headers)
    told = store.version_of(site.url("/a"))
    assert [method for method, _, _ in site.asked] == ["HEAD"]
    assert told == store.fetch(site.url("/a"), 10).version
    assert told == version
    site.answers["/a"].of_head = 403  # As for a URL that is signed for GET.
    assert store.version_of(site.url("/a")) == told
    assert site.asked[-1][0] == "GET"
    part = {**headers, "Content-Range": "bytes 0-0/4", "Content-Length": "1"}
    site.answers["/a"] = Answer(b"d", 206, part, of_head=405)
    assert store.version_of(site.url("/a")) == told


def test_a_server_without_versions_says_so(site: Site, store: HttpStore) -> None:
    site.answers["/a"] = Answer(b"data")
    assert store.fetch(site.url("/a"), 10).version == ""
    with pytest.raises(OSError, match="gives no version"):
        store.version_of(site.url("/a"))
    with pytest.raises(FileNotFoundError):
        store.version_of(site.url("/none"))
    assert (store.exists(site.url("/a")), store.exists(site.url("/none"))) == (True, False)
    assert store.size(site.url("/a")) == 4
    assert store.expand(site.url("/a")) == [site.url("/a")]
    assert store.expand(site.url("/none")) == []


def test_nothing_is_written_to_a_web_server(store: HttpStore) -> None:
    url = "https://shop.test/a?sig=SECRET"
    for write in (
        lambda: store.create(url, b""),
        lambda: store.write(url, b""),
        lambda: store.put_file(Path("x"), url),
        lambda: store.compare_and_swap(url, b"", None),
        lambda: store.delete_tree(url),
        lambda: store.list_files(url),
    ):
        with pytest.raises(UsageError, match=r"https://shop\.test/a: .*web server"):
            write()
    with pytest.raises(UsageError, match="writing to https:// is not supported"):
        storage.write(url, b"")


def test_connections_are_used_again(site: Site, store: HttpStore) -> None:
    site.answers["/a"] = Answer(b"x")
    for _ in range(5):
        store.fetch(site.url("/a"), 10)
        with pytest.raises(FileNotFoundError):
            store.fetch(site.url("/none"), 10)
    assert len(site.connections) == 1


def test_many_threads_share_a_store(site: Site, store: HttpStore) -> None:
    bodies = {f"/{number}": bytes([number]) * 30_000 for number in range(8)}
    site.answers.update({path: Answer(body, headers={"ETag": f'"{path}"'}) for path, body in bodies.items()})
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda path: (path, store.fetch(site.url(path), 100_000)), [*bodies] * 10))
    assert all(got.data == bodies[path] and got.version == path for path, got in fetched)
    assert len(site.connections) <= 8


def test_connections_to_the_servers_least_used_are_forgotten(site: Site) -> None:
    connections = Connections(Patience(), most=2)
    for host in ("a.test", "b.test", "a.test", "c.test"):
        with due_within(5, 5):
            response = connections.request("GET", parse(site.url("/none", host)), "127.0.0.1", {})
            assert response.read() == b""
    assert [host for *_, host in connections._pools] == ["a.test", "c.test"]
