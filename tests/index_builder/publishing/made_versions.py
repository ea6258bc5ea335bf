"""Versions for the tests of publishing: two files of text each, which no index needs to be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog import storage
from catalog.channel import Pointer, read_channel
from catalog.encoder_info import EncoderInfo
from catalog.manifest import Manifest, ManifestFile, sha256_of
from index_builder.publishing.promote import move
from index_builder.publishing.publish import publish

ENCODER = EncoderInfo("tiny", "savedmodel:/m", 4, (8, 8), "cosine", True, "f" * 64)


def stored_version(root: str, name: str, **changed: Any) -> Manifest:
    """The manifest of a version whose files are stored; the manifest is not."""
    files = []
    for file, role in (("index.faiss", "index"), ("items.arrow", "items")):
        url = storage.join(root, "versions", name, file)
        storage.write(url, f"{name} {file}".encode() * 20)
        digest, size = sha256_of(url)
        files.append(ManifestFile(file, role, size, digest))
    manifest = Manifest(
        version=name,
        name="shop",
        created_at="2026-01-01T00:00:00+00:00",
        encoder=ENCODER,
        metric="cosine",
        vectors=1_000,
        index={"factory": "Flat"},
        codebook=None,
        search={"nprobe": 0, "rerank": 0, "ef_search": 0},
        recall={"1": 1.0, "10": 1.0, "100": 1.0},
        source={"store": "gs://bucket/embeddings", "snapshot": 1},
        libraries={},
        seconds_by_stage={},
        files=tuple(files),
    )
    return replace(manifest, **changed)


def published_version(root: str, name: str, channel: str | None = "prod", **changed: Any) -> Pointer:
    """A version in the log, and on a channel without any gate being asked."""
    pointer = publish(root, stored_version(root, name, **changed))[1]
    if channel is not None:
        move(root, read_channel(root, channel), pointer, [])
    return pointer
