from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from index_builder.publish import flip, publish
from index_builder.verify import find_version, verify

from catalog import storage
from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError, ConflictError, IntegrityError, UsageError
from catalog.manifest import (
    Manifest,
    ManifestFile,
    Pointer,
    channel_url,
    manifest_url,
    read_channel,
    read_log,
    sha256_of,
)

ENCODER = EncoderInfo("tiny", "savedmodel:/m", 4, (8, 8), "cosine", True, "f" * 64)


def version(root: Path, name: str) -> Manifest:
    """A version with two files stored and its manifest not yet."""
    files = []
    for file, role in (("index.faiss", "index"), ("items.arrow", "items")):
        url = str(root / "versions" / name / file)
        storage.write(url, f"{name} {file}".encode() * 20)
        digest, size = sha256_of(url)
        files.append(ManifestFile(file, role, size, digest))
    return Manifest(
        version=name,
        name="shop",
        created_at="2026-01-01T00:00:00+00:00",
        encoder=ENCODER,
        metric="cosine",
        vectors=3,
        index={"factory": "Flat"},
        codebook=None,
        search={"nprobe": 0, "rerank": 0},
        recall={"1": 1.0, "10": 1.0, "100": 1.0},
        source={},
        libraries={},
        seconds_by_stage={},
        files=tuple(files),
    )


def test_a_published_version_is_found_by_channel_and_by_name_and_is_intact(tmp_path: Path) -> None:
    root = str(tmp_path)
    first, second = version(tmp_path, "v1"), version(tmp_path, "v2")
    publish(root, first, "prod")
    publish(root, second, "prod")
    assert [entry.version for entry in read_log(root)] == ["v1", "v2"]
    assert find_version(root).version == "v2"
    assert verify(root, find_version(root)) == second
    assert verify(root, find_version(root, version="v1")) == first
    with pytest.raises(UsageError, match="has no version 'v3'; its versions are: v1, v2"):
        find_version(root, version="v3")
    with pytest.raises(UsageError, match="has no channel 'canary'; its channels are: prod"):
        find_version(root, "canary")
    with pytest.raises(UsageError, match="nothing is published there"):
        find_version(str(tmp_path / "none"))


def test_publishing_again_changes_nothing_even_where_the_clock_has_moved(tmp_path: Path) -> None:
    root, manifest = str(tmp_path), version(tmp_path, "v1")
    publish(root, manifest, "prod")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert publish(root, replace(manifest, created_at="2027-01-01T00:00:00+00:00"), "prod") == manifest
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


@pytest.mark.parametrize("dies_at", ["manifest", "log", "channel"])
def test_a_publisher_that_dies_at_any_step_leaves_the_old_version_and_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    root = str(tmp_path)
    publish(root, version(tmp_path, "v1"), "prod")
    second = version(tmp_path, "v2")
    create, swap = storage.create, storage.compare_and_swap

    def dying_create(url: str, data: bytes) -> None:
        if (dies_at == "manifest" and url.endswith("manifest.json")) or (dies_at == "log" and "/log/" in url):
            raise KeyboardInterrupt
        create(url, data)

    def dying_swap(url: str, data: bytes, token: str | None) -> None:
        if dies_at == "channel":
            raise KeyboardInterrupt
        swap(url, data, token)

    monkeypatch.setattr(storage, "create", dying_create)
    monkeypatch.setattr(storage, "compare_and_swap", dying_swap)
    with pytest.raises(KeyboardInterrupt):
        publish(root, second, "prod")
    assert verify(root, find_version(root)).version == "v1"
    monkeypatch.undo()
    publish(root, second, "prod")
    assert verify(root, find_version(root)) == second
    assert [entry.version for entry in read_log(root)] == ["v1", "v2"]


def test_sixteen_publishers_at_once_make_a_linear_log_without_a_lost_version(tmp_path: Path) -> None:
    root, lost = str(tmp_path), []
    manifests = [version(tmp_path, f"v{number:02d}") for number in range(16)]

    def work(manifest: Manifest) -> None:
        try:
            publish(root, manifest, "prod")
        except CatalogIndexerError as error:
            lost.append(error)

    threads = [threading.Thread(target=work, args=(manifest,)) for manifest in manifests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    log = read_log(root)
    assert [entry.sequence for entry in log] == list(range(1, 17))
    assert sorted(entry.version for entry in log) == [manifest.version for manifest in manifests]
    assert all(isinstance(error, ConflictError) and "moved by another publisher" in str(error) for error in lost)
    assert read_channel(root, "prod") in log


def test_a_channel_that_moved_between_look_and_swap_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = str(tmp_path), storage.read_with_token

    def moved_after_the_look(url: str) -> tuple[bytes | None, str | None]:
        found = read(url)
        storage.write(url, Pointer("other", "0" * 64, 9).to_bytes())
        return found

    monkeypatch.setattr(storage, "read_with_token", moved_after_the_look)
    with pytest.raises(ConflictError, match="channel prod was moved by another publisher; version v1 is published"):
        flip(root, "prod", Pointer("v1", "a" * 64, 1))
    monkeypatch.undo()
    assert read_channel(root, "prod") == Pointer("other", "0" * 64, 9)


def test_one_flipped_byte_anywhere_in_a_version_is_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    publish(root, version(tmp_path, "v1"), "prod")
    pointer = find_version(root)
    for path in sorted((tmp_path / "versions" / "v1").iterdir()):
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
            with pytest.raises(IntegrityError, match=rf"{path.name} is damaged"):
                verify(root, pointer)
        path.write_bytes(whole[:-1])
        with pytest.raises(IntegrityError, match=rf"{path.name} is damaged"):
            verify(root, pointer)
        path.unlink()
        with pytest.raises(IntegrityError, match=rf"{path.name} is missing"):
            verify(root, pointer)
        path.write_bytes(whole)
    verify(root, pointer)


def test_a_manifest_is_read_as_it_was_written_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    manifest = version(tmp_path, "v1")
    assert Manifest.from_bytes(manifest.to_bytes(), "m") == manifest
    newer = json.loads(manifest.to_bytes())
    newer["schema_version"] = 99
    with pytest.raises(UsageError, match="m has schema version 99"):
        Manifest.from_bytes(json.dumps(newer).encode(), "m")
    with pytest.raises(IntegrityError, match="m is damaged"):
        Manifest.from_bytes(b'{"schema_version": 1}', "m")
    assert manifest_url("r", "v") == "r/versions/v/manifest.json"
    assert channel_url("r", "prod") == "r/channels/prod.json"
