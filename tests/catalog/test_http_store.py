"""Web servers: what is asked, what is refused, and what an answer means. Every server is on loopback."""

from __future__ import annotations

import email.utils
import hashlib
import http.server
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog import storage
from catalog.errors import UsageError
from catalog.storage.base import AddressRefusedError, TransientError
from catalog.storage.http_address import may_be_asked, parse
from catalog.storage.http_connection import Patience
from catalog.storage.http_store import HttpStore
from tests.catalog.web_servers import Answer, Site, web_server

Resolve = Callable[[dict[str, list[str]]], None]


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


def test_the_sixth_redirect_is_not_followed(site: Site, store: HttpStore) -> None:
    for number in range(6):
        site.answers[f"/{number}"] = Answer(status=302, headers={"Location": f"/{number + 1}"})
    site.answers["/6"] = Answer(b"end")
    assert store.fetch(site.url("/1"), 10).data == b"end"
    with pytest.raises(OSError, match="more than 5 redirects"):
        store.fetch(site.url("/0"), 10)
    site.answers["/loop"] = Answer(status=302, headers={"Location": "/loop"})
    with pytest.raises(OSError, match="more than 5 redirects"):
        store.fetch(site.url("/loop"), 10)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://169.254.169.254/latest/meta-data/?token=SECRET", "leads to 169.254.169.254, which is not a public"),
        ("//169.254.169.254/", "leads to 169.254.169.254"),
        ("http://[::ffff:169.254.169.254]/", "which is not a public address"),
        ("http://2852039166/", "leads to 169.254.169.254"),
        ("http://0xa9fea9fe/", "leads to 169.254.169.254"),
        ("file:///etc/passwd", "is not an http or https address"),
        ("gopher://127.0.0.1:70/x", "is not an http or https address"),
        ("http://127.0.0.1:22/", "port 22 is not a web server's"),
    ],
)
def test_a_redirect_is_checked_like_a_first_address(site: Site, store: HttpStore, location: str, why: str) -> None:
    site.answers["/a"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(AddressRefusedError, match=why) as refused:
        store.fetch(site.url("/a?X-Amz-Signature=SECRET"), 10)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"),
        *("10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "[fd00:ec2::254]"),
        *("user@127.0.0.1", "public.example:80@127.0.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]"),
    ],
)
def test_what_only_this_machine_can_reach_is_never_asked(site: Site, host: str) -> None:
    with pytest.raises(AddressRefusedError, match="which is not a public address"):
        HttpStore().fetch(f"http://{host}:{site.port}/", 10)
    assert site.asked == []


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("64:ff9b::808:808", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("fc00::1", False, True),
        ("64:ff9b::a00:1", False, True),
        *((never, False, False) for never in ("169.254.1.1", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1")),
        *((never, False, False) for never in ("255.255.255.255", "240.0.0.1", "168.63.129.16", "100.100.100.200")),
        *((never, False, False) for never in ("2002:a9fe:a9fe::1", "::ffff:169.254.169.254", "fec0::1", "2001:db8::1")),
        *((never, False, False) for never in ("192.0.0.192", "198.18.0.1", "2001::1", "::7f00:1", "64:ff9b:1::1")),
    ],
)
def test_public_addresses_may_be_asked_and_link_local_ones_never(address: str, public: bool, private: bool) -> None:
    assert may_be_asked(address) is public
    assert may_be_asked(address, allow_private=True) is private


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(host: str, port: int, **options: object) -> list:
        return [(0, 0, 0, "", (ip, port)) for ip in ("127.0.0.1", "169.254.169.254")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(AddressRefusedError, match=r"leads to 169\.254\.169\.254"):
        store.fetch("http://two.test/", 10)


def test_a_name_that_leads_elsewhere_after_the_check_changes_nothing(
    site: Site, store: HttpStore, resolve: Resolve
) -> None:
    site.answers["/a"] = Answer(b"checked")
    resolve({"rebind.test": ["127.0.0.1", "169.254.169.254"]})
    assert store.fetch(site.url("/a", "rebind.test"), 10).data == b"checked"
    assert store.fetch(site.url("/a", "rebind.test"), 10).data == b"checked"
    assert site.asked[0][2]["Host"] == f"rebind.test:{site.port}"
    other = HttpStore(allow_private=True)
    with pytest.raises(AddressRefusedError):
        other.fetch(site.url("/a", "rebind.test"), 10)


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


def test_user_and_password_go_to_their_own_server_only(site: Site, store: HttpStore, resolve: Resolve) -> None:
    resolve({"other.test": ["127.0.0.1"]})
    site.answers["/same"] = Answer(status=302, headers={"Location": "/b"})
    site.answers["/other"] = Answer(status=302, headers={"Location": site.url("/b", "other.test")})
    site.answers["/b"] = Answer(b"x")
    for path in ("/same", "/other"):
        store.fetch(f"http://me:p%40ss@127.0.0.1:{site.port}{path}", 10)
    sent = [headers.get("Authorization") for _, _, headers in site.asked]
    assert sent == ["Basic bWU6cEBzcw=="] * 3 + [None]


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(AddressRefusedError, match="redirects from https to http"):
        parse("https://shop.test/a").follow("http://shop.test/a")
    assert parse("http://shop.test/a").follow("https://shop.test/b").scheme == "https"


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


@pytest.mark.parametrize("part", ["headers", "body", "nothing"])
def test_a_server_that_drips_does_not_hold_a_thread(site: Site, part: str) -> None:
    released = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000\r\n\r\n" if part == "body" else b"X: "))
        while not released.wait(0.05):
            if part != "nothing":
                handler.wfile.write(b"x")

    site.answers["/drip"] = Answer(instead=drip)
    patient = HttpStore(allow_private=True, patience=Patience(connect=1, read=0.5, total=0.8))
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="the server took too long"):
        patient.fetch(site.url("/drip?sig=SECRET"), 10_000)
    released.set()
    assert time.monotonic() - started < 2


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


def test_signatures_are_in_no_log(site: Site, store: HttpStore, caplog: pytest.LogCaptureFixture) -> None:
    def bad_header(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nno header\r\n\r\nx")

    site.answers["/a"] = Answer(b"x")
    site.answers["/odd"] = Answer(instead=bad_header)
    with caplog.at_level(logging.DEBUG):
        for path in ("/a", "/odd", "/none"):
            try:
                store.fetch(site.url(f"{path}?SECRET&X-Amz-Signature=SECRET"), 10)
            except OSError:
                continue
    assert "GET /a" in caplog.text
    assert "SECRET" not in caplog.text


def test_the_environments_proxy_is_not_asked(site: Site, store: HttpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.answers["/a"] = Answer(b"direct")
    assert store.fetch(site.url("/a"), 10).data == b"direct"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of shop.test that nobody signed but itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=shop.test"
    names = ["-addext", "subjectAltName=DNS:shop.test", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=30)
    return folder / "cert", folder / "key"


def test_a_certificate_must_be_trusted_and_be_the_names(certificate: tuple[Path, Path], resolve: Resolve) -> None:
    resolve({"shop.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*certificate)
    trusting = HttpStore(allow_private=True, context=ssl.create_default_context(cafile=str(certificate[0])))
    with web_server({"/a": Answer(b"x" * 100_000)}, tls=served) as site:
        url = f"https://shop.test:{site.port}/a"
        assert trusting.fetch(url, 1_000_000).data == b"x" * 100_000
        assert site.asked[0][2]["Host"] == f"shop.test:{site.port}"
        for store, other in ((HttpStore(allow_private=True), url), (trusting, url.replace("shop", "other"))):
            with pytest.raises(OSError, match="certificate is not trusted") as raised:
                store.fetch(other, 10)
            assert type(raised.value) is OSError


def test_a_server_that_drips_over_tls_does_not_hold_a_thread(certificate: tuple[Path, Path], resolve: Resolve) -> None:
    resolve({"shop.test": ["127.0.0.1"]})
    released = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not released.wait(0.05):
            handler.wfile.write(b"x")

    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    patient = HttpStore(allow_private=True, patience=Patience(connect=1, read=0.5, total=0.8), context=trusting)
    with web_server({"/drip": Answer(instead=drip)}, tls=served) as site:
        with pytest.raises(TimeoutError, match="the server took too long"):
            patient.fetch(f"https://shop.test:{site.port}/drip", 10_000)
        released.set()
