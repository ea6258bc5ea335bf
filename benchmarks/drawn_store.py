"""A large embedding store without a photo: thumbnails, vectors and hashes that are drawn, with known copies among them.

Thumbnails have the spectrum of photos, and vectors variances that fall as those of real encoders do. Both come in
scenes, so that many pictures are somewhat alike, as the products of one shelf are. A tenth of the rows are near copies
of other rows, and a hundredth exact ones.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from catalog.embedding_file import EmbeddingFileWriter, schema, vector_array
from catalog.embedding_store import StoreSettings, create
from catalog.encoder_info import EncoderInfo
from catalog.partition import default_partitions, partitions_of
from catalog.snapshot import Counts, FileEntry, Snapshot, write_snapshot
from dedupe.whitening import thumbnail_prior

DIMENSION = 256
NEAR, EXACT = 0.1, 0.01
_ROWS_A_SCENE = 2_000
_FINGERPRINT = "d" * 64
_BLOCK = 50_000


def planted(rows: int) -> int:
    """How many rows of a store of so many are copies of others."""
    return int(NEAR * rows) + int(EXACT * rows)


def draw_store(folder: Path, rows: int, seed: int = 0) -> None:
    """Writes a store of one snapshot to `folder`."""
    thumbnails, vectors, hashes, source = _draw(rows, np.random.default_rng(seed))
    create(str(folder), StoreSettings(default_partitions(rows), "float16"))
    names = np.array([f"item-{number:09d}" for number in range(rows)])
    partitions = default_partitions(rows)
    owners = partitions_of(names, partitions)
    entries = []
    for partition in range(partitions):
        chosen = np.flatnonzero(owners == partition)  # In the order of the ids, as files are.
        if len(chosen):
            table = _table(names, chosen, thumbnails, vectors, hashes, source)
            entries.append(_write(folder, partition, table))
    encoder = EncoderInfo("drawn", "drawn", DIMENSION, (224, 224), "cosine", True, _FINGERPRINT)
    counts = Counts(rows, rows, 0, 0)
    write_snapshot(str(folder), Snapshot(1, None, 1, "drawn", encoder, "float16", partitions, counts, tuple(entries)))


def _draw(rows: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """uint8 [rows, 192], float16 [rows, DIMENSION] and uint8 [rows, 40], 8 bytes of hash and 32; int64 [rows], the row
    that each is an exact copy of, or itself. Near copies follow the pictures, and exact copies those."""
    near, exact = int(NEAR * rows), int(EXACT * rows)
    pictures = rows - planted(rows)
    of = np.concatenate([np.arange(pictures), draw.integers(0, pictures, near + exact)])
    scene = np.sort(draw.integers(0, max(1, pictures // _ROWS_A_SCENE), pictures))[of]
    root = np.linalg.cholesky(thumbnail_prior().covariance + 1e-6 * np.eye(192)).T.astype(np.float32)
    scale = (np.arange(1, DIMENSION + 1) ** -0.5).astype(np.float32)
    scenes = scene.max(initial=0) + 1
    looks = (draw.normal(size=(scenes, 192)).astype(np.float32) @ root) * 0.6
    meanings = draw.normal(size=(scenes, DIMENSION)).astype(np.float32) * scale
    levels, vectors = np.empty((rows, 192), np.uint8), np.empty((rows, DIMENSION), np.float16)
    for start in range(0, pictures, _BLOCK):
        block = slice(start, min(start + _BLOCK, pictures))
        own = draw.normal(size=(block.stop - start, 192)).astype(np.float32) @ root
        levels[block] = np.clip(128 + looks[scene[block]] + 0.8 * own, 0, 255)
        vector = meanings[scene[block]] + draw.normal(size=(block.stop - start, DIMENSION)).astype(np.float32) * scale
        vectors[block] = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    hashes = draw.integers(0, 256, (rows, 40), np.uint8)
    hashes[pictures:] = hashes[of[pictures:]]
    levels[pictures:], vectors[pictures:] = levels[of[pictures:]], vectors[of[pictures:]]
    copies = slice(pictures, pictures + near)
    levels[copies] = np.clip(levels[copies] + draw.normal(size=(near, 192)) * 4, 0, 255)
    vectors[copies] += (draw.normal(size=(near, DIMENSION)) * 0.01).astype(np.float16)
    # Every other near copy has another hash altogether, as a crop has.
    hashes[pictures : pictures + near : 2] = draw.integers(0, 256, (len(range(0, near, 2)), 40), np.uint8)
    source = np.arange(rows)
    source[pictures + near :] = of[pictures + near :]
    return levels, vectors, hashes, source


def _table(
    names: np.ndarray,
    chosen: np.ndarray,
    thumbnails: np.ndarray,
    vectors: np.ndarray,
    hashes: np.ndarray,
    source: np.ndarray,
) -> pa.Table:
    content = [xxhash.xxh3_128_digest(int(row).to_bytes(8, "big")) for row in source[chosen]]
    count = len(chosen)
    return pa.table(
        {
            "item_id": pa.array(names[chosen]),
            "product_id": pa.array(names[chosen]),
            "embedding": vector_array(vectors[chosen], "float16"),
            "content_hash": pa.array([each * 2 for each in content], pa.binary(32)),
            "phash": pa.array(hashes[chosen, :8].copy().view(">u8").reshape(-1).astype(np.uint64)),
            "thumbnail": pa.array([each.tobytes() for each in thumbnails[chosen]], pa.binary(192)),
            "width": pa.array(np.full(count, 800, np.int32)),
            "height": pa.array((400 + chosen % 400).astype(np.int32)),
            "image_uri": pa.array([f"/drawn/{name}.jpg" for name in names[chosen]]),
            "source_version": pa.array(["1"] * count),
            "pixel_hash": pa.array(content, pa.binary(16)),
            "phash_256": pa.array([each.tobytes() for each in hashes[chosen, 8:]], pa.binary(32)),
            "bytes": pa.array((50_000 + chosen % 1_000).astype(np.int64)),
        }
    )


def _write(folder: Path, partition: int, table: pa.Table) -> FileEntry:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        writer = EmbeddingFileWriter(Path(scratch) / "file", schema(DIMENSION, "float16", pa.schema([])), _FINGERPRINT)
        writer.append(table)
        written = writer.store(str(folder), f"data/{partition:05d}")
    return FileEntry(partition, written.path, written.sha256, written.bytes, written.rows)
