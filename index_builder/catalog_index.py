"""A published version, opened: what a consumer reads, proves intact and searches."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog import storage
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import (
    Manifest,
    Pointer,
    artifact_root,
    manifest_url,
    read_channel,
    read_log,
    sha256_of,
    version_folder,
)
from index_builder.items import Items
from index_builder.measures import prepare, score_and_distance, similarity
from index_builder.searcher import OperatingPoint, Searcher
from index_builder.vector_file import open_vectors


@dataclass(frozen=True)
class Match:
    """One search result; `score` is larger for nearer, `distance` smaller."""

    rank: int
    item_id: str
    product_id: str | None
    score: float
    distance: float
    image_uri: str | None
    metadata: dict[str, Any]


def find_version(root: str, channel: str = "prod", version: str | None = None) -> Pointer:
    """The version that a channel points to, or the named one.

    Raises:
        UsageError: there is no such artifact, channel or version; the sentence lists what there is.
    """
    if version is None:
        pointer = read_channel(root, channel)
        if pointer is None:
            channels = [
                storage.name_of(u).removesuffix(".json") for u in storage.list_files(storage.join(root, "channels"))
            ]
            there = f"its channels are: {', '.join(channels)}" if channels else "nothing is published there"
            raise UsageError(f"{root} has no channel {channel!r}; {there}")
        return pointer
    log = read_log(root)
    for entry in reversed(log):
        if entry.version == version:
            return entry
    there = f"its versions are: {', '.join(entry.version for entry in log)}" if log else "nothing is published there"
    raise UsageError(f"{root} has no version {version!r}; {there}")


def verify(root: str, pointer: Pointer) -> Manifest:
    """Reads back every byte of a version and compares it with what was published.

    Returns:
        The manifest.

    Raises:
        IntegrityError: names the file that is missing, shortened or changed.
    """
    url = manifest_url(root, pointer.version)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; version {pointer.version} is not whole") from None
    if hashlib.sha256(data).hexdigest() != pointer.manifest_sha256:
        raise IntegrityError(f"{url} is damaged: its sha256 is not the published one")
    manifest = Manifest.from_bytes(data, url)
    for entry in manifest.files:
        file = storage.join(version_folder(root, pointer.version), entry.path)
        try:
            found, size = sha256_of(file)
        except FileNotFoundError:
            raise IntegrityError(f"{file} is missing; version {pointer.version} is not whole") from None
        if size != entry.bytes:
            raise IntegrityError(f"{file} is damaged: it has {size:,} bytes, {entry.bytes:,} were published")
        if found != entry.sha256:
            raise IntegrityError(f"{file} is damaged: its sha256 is not the published one")
    return manifest


class CatalogIndex:
    """A version in memory, or mapped into it. Open one with `CatalogIndex.open`."""

    def __init__(
        self, manifest: Manifest, searcher: Searcher, items: Items, scratch: tempfile.TemporaryDirectory[str]
    ) -> None:
        self.manifest = manifest
        self._scratch = scratch  # Downloaded files live as long as the index; a version on a local disk has none.
        self._searcher = searcher
        self._items = items
        self.default = OperatingPoint.from_json(manifest.search)

    @classmethod
    def open(cls, artifacts: str, name: str, channel: str = "prod", version: str | None = None) -> CatalogIndex:
        """Opens the version that a channel points to, every byte verified first.

        Raises:
            UsageError: there is no such artifact, channel or version.
            IntegrityError: a file is not what was published.
        """
        root = artifact_root(artifacts, name)
        pointer = find_version(root, channel, version)
        manifest = verify(root, pointer)
        folder = version_folder(root, pointer.version)
        scratch = tempfile.TemporaryDirectory(prefix="catalog-indexer-")

        def local(role: str) -> Path | None:
            entry = manifest.file(role)
            return storage.local_copy(storage.join(folder, entry.path), scratch.name) if entry else None

        index, items, vectors = local("index"), local("items"), local("vectors")
        if index is None or items is None:
            raise IntegrityError(f"{manifest_url(root, pointer.version)} names no index or no items")
        searcher = Searcher(index, open_vectors(vectors) if vectors else None, manifest.metric)
        return cls(manifest, searcher, Items(items), scratch)

    def search(self, vector: np.ndarray, k: int = 10, point: OperatingPoint | None = None) -> list[Match]:
        """The nearest items of one vector.

        Args:
            vector: [d], from an encoder with the manifest's fingerprint.
            k: how many.
            point: how hard to look; the version's default point if None.

        Raises:
            UsageError: the vector has another dimension or a value that is no number.
        """
        vector = np.asarray(vector, np.float32)
        if vector.shape != (self._searcher.dimension,):
            raise UsageError(f"the vector has shape {list(vector.shape)}, the index wants [{self._searcher.dimension}]")
        if not np.isfinite(vector).all():
            raise UsageError("the vector has a value that is not a finite number")
        if self.manifest.metric == "cosine" and not vector.any():
            raise UsageError("the vector is all zeros, which has no direction and no cosine")
        rows, values = self._searcher.search(vector[None], k, point or self.default)
        return self._matches([pair for pair in zip(rows[0].tolist(), values[0].tolist(), strict=True) if pair[0] >= 0])

    def search_item(self, item_id: str, k: int = 10, point: OperatingPoint | None = None) -> list[Match]:
        """The nearest items of an item, itself first, also where others are its exact copies.

        Raises:
            UsageError: no such item, or the version keeps codes only.
        """
        vector = self.vector_of(item_id)
        own = self._items.row_of(item_id)
        assert own is not None
        asked = prepare(vector[None], self.manifest.metric)[0]
        rows, values = self._searcher.search(vector[None], k, point or self.default)
        others = [pair for pair in zip(rows[0].tolist(), values[0].tolist(), strict=True) if pair[0] not in (own, -1)]
        itself = float(similarity(asked, asked[None], self.manifest.metric)[0])
        return self._matches([(own, itself), *others][:k])

    def _matches(self, found: Sequence[tuple[int, float]]) -> list[Match]:
        matches = []
        for rank, (row, value) in enumerate(found, start=1):
            score, distance = score_and_distance(value, self.manifest.metric)
            item = self._items.item(row)
            matches.append(
                Match(
                    rank=rank,
                    item_id=item["item_id"],
                    product_id=item["product_id"],
                    score=round(score, 6),
                    distance=round(distance, 6),
                    image_uri=item["image_uri"],
                    metadata=item["metadata"],
                )
            )
        return matches

    def vector_of(self, item_id: str) -> np.ndarray:
        """float32 [d] of an item.

        Raises:
            UsageError: no such item, or the version keeps codes only.
        """
        row = self._items.row_of(item_id)
        if row is None:
            raise UsageError(f"version {self.manifest.version} has no item {item_id!r}")
        vector = self._searcher.vector(row)
        if vector is None:
            raise UsageError(
                f"version {self.manifest.version} keeps no vectors (it was built with --rerank none); search by "
                "image or by vector"
            )
        return vector

    def items(self) -> Items:
        """Row number to item."""
        return self._items
