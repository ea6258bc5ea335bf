"""What is wrong though every byte is as published: versions that were built wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from catalog import storage
from catalog.manifest import Manifest, read_manifest, sha256_of
from catalog.storage.local import LocalStore
from index_builder.publishing.answers import Answers, write_answers
from index_builder.publishing.checkup import check_up
from index_builder.publishing.deep_checkup import check_deeply
from index_builder.publishing.verify import find_version
from tests.index_builder.publishing.far_store import FarStore
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

POINT = {"nprobe": 4, "rerank": 4, "ef_search": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish_version(tmp_path, clustered(400, 8), "l2", "IVF4,Flat", POINT)
    return tmp_path / "shop"


def findings(root: Path, manifest: Manifest) -> dict[str, tuple[bool, str]]:
    return {each.check: (each.ok, each.says) for each in check_deeply(str(root), manifest, root)}


def rewritten(root: Path, name: str) -> Manifest:
    """The manifest with the size and sha256 that a file has now."""
    manifest = read_manifest(str(root), "v1")
    digest, size = sha256_of(str(root / "versions" / "v1" / name))
    files = tuple(replace(each, sha256=digest, bytes=size) if each.path == name else each for each in manifest.files)
    return replace(manifest, files=files)


def test_a_version_without_answers_and_source_is_checked_as_far_as_it_goes(root: Path) -> None:
    found = findings(root, read_manifest(str(root), "v1"))
    assert all(ok for ok, _ in found.values())
    assert {name: found[name][1] for name in ("answers", "source", "codebook")} == {
        "answers": "it was built before answers were kept",
        "source": "it was built before its files were listed",
        "codebook": "an index of this kind has none",
    }


def test_an_index_with_other_rows_than_the_manifest_is_told(root: Path) -> None:
    path = root / "versions" / "v1" / "index.faiss"
    index = faiss.read_index(str(path))
    index.add(np.zeros((3, 8), np.float32))
    faiss.write_index(index, str(path))
    found = findings(root, rewritten(root, "index.faiss"))
    assert found["rows"] == (False, "400 in the manifest, 400 in the items, 403 in the index")
    assert "rows" in {name for name, (ok, _) in found.items() if not ok}


def test_a_version_elsewhere_is_downloaded_once_and_the_copy_that_was_verified_is_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the download of the fresh process, which stands for a consumer."""
    files = {each.path for each in read_manifest(str(root), "v1").files}
    for damaged in ({}, {"index.faiss": 1}):
        store = FarStore()
        store.damaged = damaged
        with monkeypatch.context() as patch:
            patch.setattr(storage, "store_for", lambda url, store=store: store if "/shop" in url else LocalStore())
            found = {each.check: (each.ok, each.says) for each in check_up(str(root), find_version(str(root)), True)}
        assert store.downloads == dict.fromkeys(files, 1)
        wrong = {name for name, (ok, _) in found.items() if not ok}
        assert wrong == ({"index.faiss", "opened"} if damaged else set())


def test_answers_that_are_not_given_again_are_told(root: Path) -> None:
    folder = root / "versions" / "v1"
    vectors = clustered(400, 8)[:10]
    answers = Answers([f"q{n}" for n in range(10)], vectors, np.ones(10), np.ones(10, bool), [["nobody"] * 5] * 10)
    write_answers(folder / "answers.arrow", answers)
    digest, size = sha256_of(str(folder / "answers.arrow"))
    manifest = read_manifest(str(root), "v1")
    entry = replace(manifest.files[0], path="answers.arrow", role="answers", bytes=size, sha256=digest)
    ok, says = findings(root, replace(manifest, files=(*manifest.files, entry)))["answers"]
    assert not ok
    assert says == "0.00% of the answers to 10 queries are given again, wanted at least 99%"


def test_what_it_needs_and_is_not_there_is_told(root: Path) -> None:
    found = findings(root, replace(read_manifest(str(root), "v1"), needs=("v0",)))
    assert found["needs"] == (False, "version v0, which it needs, is missing")


def test_a_file_that_is_damaged_where_it_is_opened_is_told(root: Path) -> None:
    path = root / "versions" / "v1" / "items.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    found = findings(root, read_manifest(str(root), "v1"))
    assert not found["opened"][0]
    assert not found["rows"][0]
    assert json.dumps({name: says for name, (_, says) in found.items()})
