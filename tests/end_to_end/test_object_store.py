"""The main job with everything on an object store: catalog, images, embeddings and artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog import storage
from catalog.snapshot import latest_snapshot
from tests.catalog.object_stores import gcs_server, s3_server
from tests.conftest import Catalog, Finished


@pytest.fixture(params=[gcs_server, s3_server], ids=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with request.param(tmp_path) as url:
        yield url


def test_the_whole_path_runs_on_a_bucket(
    bucket: str,
    make_catalog: Callable[..., Catalog],
    cli: Callable[..., Finished],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = make_catalog(30)
    (catalog.csv.parent / "pictures" / "4.png").unlink()
    for path in catalog.csv.parent.rglob("*.*"):
        storage.put_file(path, f"{bucket}/shop/{path.relative_to(catalog.csv.parent)}")
    embed = ("embed", "--catalog", f"{bucket}/shop/*.csv", "--output", f"{bucket}/embeddings", "--json")
    first = cli(*embed)
    assert first.code == 0, first.err
    assert (first.json["embedded"], first.json["rejects_by_reason"]) == (29, {"not_found": 1})
    before = sorted(storage.list_files(f"{bucket}/embeddings"))
    again = cli(*embed)
    assert (again.json["embedded"], again.json["reused"], again.json["snapshot"]) == (0, 29, 1)
    assert sorted(storage.list_files(f"{bucket}/embeddings")) == before
    snapshot = latest_snapshot(f"{bucket}/embeddings")
    assert snapshot is not None
    assert snapshot.vectors == 29
    artifact = ("--artifacts", f"{bucket}/artifacts", "--name", "shop")
    assert cli("index", "--embeddings", f"{bucket}/embeddings", *artifact).code == 0
    found = cli("search", *artifact, "--image", f"{bucket}/shop/pictures/7.png", "-k", 3, "--json")
    assert found.code == 0, found.err
    assert found.json["results"][0]["item_id"] == "item-0007"
    assert found.json["results"][0]["image_uri"] == f"{bucket}/shop/pictures/7.png"
    assert cli("verify", *artifact).code == 0
    damaged = next(url for url in storage.list_files(f"{bucket}/artifacts") if url.endswith("items.arrow"))
    storage.write(damaged, storage.read_bytes(damaged)[:-1] + b"\0")
    # What the cache has is proven still; what is in the store is not served any more.
    assert cli("search", *artifact, "--item", "item-0007").code == 0
    assert cli("verify", *artifact).code == 1
    monkeypatch.setenv("CATALOG_INDEXER_CACHE", str(tmp_path / "another-cache"))
    refused = cli("search", *artifact, "--item", "item-0007")
    assert refused.code == 1
    assert f"{damaged} is damaged" in refused.err
