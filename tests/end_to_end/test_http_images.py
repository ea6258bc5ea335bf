"""Images on a web server, by signed URLs: what is read, what is refused and why, and that no signature is kept."""

from __future__ import annotations

import http.server
import io
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import storage
from catalog.rejects import read_rejects
from catalog.snapshot import latest_snapshot
from catalog.storage import http_store
from catalog.storage.http_connection import Patience
from tests.catalog.web_servers import Answer, Site, web_server
from tests.conftest import Finished, draw_picture

Cli = Callable[..., Finished]

GOOD = 6
SIGNED = "?X-Amz-Date=20260101&X-Amz-Signature=SECRET"
METADATA = "http://169.254.169.254/latest/meta-data/?SECRET"


def picture(number: int) -> bytes:
    sink = io.BytesIO()
    draw_picture(number).save(sink, "PNG")
    return sink.getvalue()


def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nETag: ")
    for _ in range(40):
        handler.wfile.write(b"x")
        time.sleep(0.05)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A shop's server, with pictures and with all that can be wrong."""
    answers = {f"/{number}.png": Answer(picture(number), headers={"ETag": f'"{number}"'}) for number in range(GOOD)}
    answers |= {
        "/moved.png": Answer(status=302, headers={"Location": f"/0.png{SIGNED}"}),
        "/forbidden.png": Answer(status=403),
        "/broken.png": Answer(status=500),
        "/slow.png": Answer(instead=drip),
        "/inside.png": Answer(status=302, headers={"Location": METADATA}),
        "/file.png": Answer(status=302, headers={"Location": "file:///etc/passwd?SECRET"}),
        "/loop.png": Answer(status=302, headers={"Location": f"/loop.png{SIGNED}"}),
        "/page.png": Answer(b"<html>SECRET</html>" * 10, headers={"ETag": '"p"'}),
    }
    monkeypatch.setenv("CATALOG_HTTP_ALLOW_PRIVATE", "1")
    monkeypatch.setattr(http_store, "Patience", lambda: Patience(connect=1, read=0.5, total=0.6))
    storage._store.cache_clear()
    with web_server(answers) as running:
        yield running
    storage._store.cache_clear()


REJECTS = {
    "address_refused": 3,
    "duplicate_item_id": 1,
    "forbidden": 1,
    "not_found": 1,
    "outside_root": 1,
    "scheme_not_allowed": 1,
    "timeout": 1,
    "unparsable_row": 1,
    "unreadable": 2,
    "unsupported_format": 1,
}


def write_catalog(path: Path, site: Site, signature: str) -> None:
    """A row for each good picture and for each mistake, all of them with a secret."""
    urls = [site.url(f"/{number}.png") for number in range(GOOD)]
    urls += [site.url(f"/{name}.png") for name in ("moved", "none", "forbidden", "broken", "slow", "inside", "file")]
    urls += [site.url(f"/{name}.png") for name in ("loop", "page")]
    urls += ["http://169.254.169.254/latest", "ftp://shop.test/a.png", "http://127.0.0.2:1/outside.png"]
    lines = [f"item-{number},{url}{signature}#SECRET,{number}" for number, url in enumerate(urls)]
    lines[1] = lines[1].replace("http://", "http://me:SECRET@")
    lines += [f"item-0,{site.url('/5.png')}{signature},9", f"torn,{urls[0]}{signature}"]
    path.write_text("\n".join(["item_id,image_url,price", *lines]) + "\n")


def everything_below(folder: Path) -> str:
    """All that is stored, names included, Parquet unpacked."""
    texts = []
    for path in sorted(folder.rglob("*")):
        texts.append(str(path))
        if path.is_file():
            texts.append(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet":
            texts.append(str(pq.read_table(path).to_pylist()))
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as file:
                texts.append(str(pa.ipc.open_file(file).read_all().to_pylist()))
    return "\n".join(texts)


def test_signed_urls_are_read_and_their_secrets_are_nowhere(
    site: Site, cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog, store, artifacts = tmp_path / "c.csv", tmp_path / "e", tmp_path / "a"
    write_catalog(catalog, site, SIGNED)
    embed = ("embed", "--catalog", catalog, "--output", store, "--allow-http", "--allow-root", site.url("/"))
    embed += ("--allow-root", "http://169.254.169.254", "--json", "--debug")
    with caplog.at_level(logging.DEBUG):
        first = cli(*embed)
    assert first.code == 0, first.err
    assert (first.json["embedded"], first.json["rejects_by_reason"]) == (GOOD + 1, REJECTS)
    assert any("Signature=SECRET" in target for _, target, _ in site.asked)
    snapshot = latest_snapshot(str(store))
    assert snapshot is not None
    rejects = [
        row for entry in snapshot.rejects for row in read_rejects(storage.join(str(store), entry.path)).to_pylist()
    ]
    details = {row["item_id"]: row["detail"] for row in rejects if row["reason"] == "address_refused"}
    assert sorted(details.values()) == [
        "file:///etc/passwd is not an http or https address",
        "http://169.254.169.254/latest leads to 169.254.169.254, which is not a public address",
        "http://169.254.169.254/latest/meta-data/ leads to 169.254.169.254, which is not a public address",
    ]
    # The next night: every signature is another one, one picture is, and one price.
    asked = len(site.asked)
    site.answers["/3.png"] = Answer(picture(33), headers={"ETag": '"3-new"'})
    write_catalog(catalog, site, SIGNED.replace("20260101", "20260102").replace("SECRET", "SECRET2"))
    catalog.write_text(catalog.read_text().replace("#SECRET,4\n", "#SECRET,44\n"))
    second = cli(*embed)
    assert second.code == 0, second.err
    assert (second.json["embedded"], second.json["reused"], second.json["removed"]) == (1, GOOD, 0)
    read = [target.partition("?")[0] for method, target, _ in site.asked[asked:] if method == "GET"]
    assert [path for path in read if path in {f"/{number}.png" for number in range(GOOD)}] == ["/3.png"]
    index = cli("index", "--embeddings", store, "--artifacts", artifacts, "--name", "shop", "--json")
    assert index.code == 0, index.err
    found = cli("search", "--artifacts", artifacts, "--name", "shop", "--item", "item-2", "--json")
    assert found.json["results"][0]["image_uri"] == site.url("/2.png")
    for kept in (everything_below(store), everything_below(artifacts), caplog.text):
        assert "127.0.0.1" in kept
        assert "SECRET" not in kept
    for done in (first, second, index, found):
        assert "SECRET" not in done.out + done.err


def test_web_servers_are_not_asked_without_the_flag(site: Site, cli: Cli, tmp_path: Path) -> None:
    write_catalog(tmp_path / "c.csv", site, SIGNED)
    done = cli("embed", "--catalog", tmp_path / "c.csv", "--output", tmp_path / "e", "--json")
    assert done.code == 0
    assert done.json["rejects_by_reason"] == {"scheme_not_allowed": done.json["rows"] - 1, "unparsable_row": 1}
    assert site.asked == []
    assert "SECRET" not in everything_below(tmp_path / "e") + done.out + done.err


def test_the_loopback_is_refused_where_nothing_opens_it(
    site: Site, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CATALOG_HTTP_ALLOW_PRIVATE")
    storage._store.cache_clear()
    (tmp_path / "c.csv").write_text(f"id,image\n1,{site.url('/0.png')}\n")
    done = cli("embed", "--catalog", tmp_path / "c.csv", "--output", tmp_path / "e", "--allow-http", "--json")
    assert done.json["rejects_by_reason"] == {"address_refused": 1}
    assert site.asked == []


def test_a_catalog_and_its_images_may_both_be_on_a_web_server(site: Site, cli: Cli, tmp_path: Path) -> None:
    site.answers["/shop/c.csv"] = Answer(b"id,image\n1,../0.png\n2,1.png\n")  # No version: its bytes are hashed.
    site.answers["/shop/1.png"] = site.answers["/1.png"]
    embed = ("embed", "--catalog", site.url("/shop/c.csv"), "--output", tmp_path / "e", "--json")
    done = cli(*embed, "--allow-http")
    assert (done.json["embedded"], done.json["rejects_by_reason"]) == (1, {"outside_root": 1})
    assert cli(*embed, "--allow-http").json["reused"] == 1
    refused = cli(*embed, "--images-root", site.url("/"))
    assert (refused.code, "needs --allow-http" in refused.err) == (2, True)
    missing = cli("embed", "--catalog", site.url(f"/none.csv{SIGNED}"), "--output", tmp_path / "e2", "--debug")
    assert missing.code == 2
    assert f"--catalog {site.url('/none.csv')}: no such file" in missing.err
    assert "Traceback" in missing.err
    assert "SECRET" not in missing.err
