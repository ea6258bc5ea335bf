"""Small versions on disks and in object stores, for the tests of what a consumer does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from catalog import storage
from catalog.channel import read_channel
from index_builder.publishing.promote import move
from index_builder.publishing.verify import find_version
from tests.index_builder.vectors import clustered
from tests.index_builder.versions import publish_version

COUNT, DIMENSION = 400, 8
POINT = {"nprobe": 4, "rerank": 4}


def publish_shop(root: Path, version: str = "v1", seed: int = 4, **options: Any) -> np.ndarray:
    """Publishes a version of ROOT/shop; other vectors for another seed. Returns the vectors, row by row."""
    vectors = clustered(COUNT, DIMENSION, seed=seed)
    publish_version(root, vectors, "l2", "IVF8,SQ8", POINT, version=version, **options)
    return vectors


def point_channel(artifacts: Path | str, version: str, channel: str = "prod") -> None:
    """Moves a channel, whatever the gates would say."""
    root = storage.join(str(artifacts), "shop")
    move(root, read_channel(root, channel), find_version(root, version=version), [])


def upload(root: Path, url: str) -> None:
    """Copies a store of artifacts into an object store."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            storage.put_file(path, storage.join(url, *path.relative_to(root).parts))


def flip(path: Path, bit: int) -> None:
    """Changes one bit of a file, in a file of its own: whoever has the old one mapped keeps that."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    changed = path.with_name(f".{path.name}")
    changed.write_bytes(data)
    changed.replace(path)
