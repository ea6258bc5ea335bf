"""Web servers: what is never asked, and what no server can make us do. Every server is on loopback."""

from __future__ import annotations

import http.server
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from catalog.storage.base import AddressRefusedError
from catalog.storage.http_address import may_be_asked, parse
from catalog.storage.http_connection import Patience
from catalog.storage.http_store import HttpStore
from tests.catalog.conftest import Resolve
from tests.catalog.web_servers import Answer, Site, web_server
from tests.conftest import absent


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
    if shutil.which("openssl") is None:
        absent("the program openssl")
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
