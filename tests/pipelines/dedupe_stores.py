"""Small embedding stores for the tests of dedupe, drawn as signatures, without any image: copies of bytes, copies of
pixels, chains of pictures that are alike from one to the next, placeholders, files of before, rows that are gone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.embedding_file import EmbeddingFileWriter, schema, vector_array
from catalog.encoder_info import EncoderInfo
from catalog.partition import partitions_of
from catalog.reject_pile import RejectPile
from catalog.rejects import Reject
from catalog.snapshot import Counts, FileEntry, RejectsEntry, Snapshot, write_snapshot

DIMENSION, PARTITIONS = 8, 4
_LATER = ("pixel_hash", "phash_256", "bytes")
Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """What a picture is told by; all but `files` are the same for all copies of its pixels."""

    pixel_hash: bytes
    phash: int
    phash_256: bytes
    thumbnail: bytes
    embedding: np.ndarray = field(repr=False)
    size: tuple[int, int]


def draw_pictures(rng: np.random.Generator, scenes: int, contradicted: bool = False) -> list[Picture]:
    """Scenes, each of a few pictures in a row: neighbours are alike in every way, its ends need not be; and one that is
    nearly empty. Where it is `contradicted`, the longer hash of some scenes tells neighbours apart."""
    pictures = []
    for scene in range(scenes):
        coarse = rng.normal(size=(3, 3, 3)).repeat(3, axis=0).repeat(3, axis=1)[:8, :8]
        cells = 128 + 45 * coarse + rng.normal(size=(8, 8, 1)) * 25
        vector = rng.normal(size=DIMENSION)
        phash, longer = int(rng.integers(1 << 63)), rng.integers(0, 256, 32, np.uint8)
        drift, noise = rng.normal(size=(8, 8, 3)), float(rng.choice([1, 8, 20]))
        for step in range(int(rng.integers(1, 5))):
            shown = np.clip(np.rint(cells + drift * noise * step), 0, 255).astype(np.uint8)
            bits = sum(1 << (3 * each + scene % 3) for each in range(3 * step))
            far = longer.copy()
            far[: (8 if contradicted and scene % 2 else 2) * step] ^= 0x1F
            size = (int(rng.choice([100, 200])), int(rng.choice([100, 300])))
            vectors = vector + rng.normal(size=DIMENSION) * 0.3 * (step > 0)
            pictures.append(_picture(scene, step, phash ^ bits, far.tobytes(), shown.tobytes(), vectors, size))
    flat = np.full(192, 250, np.uint8)
    pictures.append(_picture(scenes, 0, 0, bytes(32), flat.tobytes(), rng.normal(size=DIMENSION), (10, 10)))
    return pictures


def _picture(
    scene: int, step: int, phash: int, longer: bytes, shown: bytes, vector: np.ndarray, size: tuple[int, int]
) -> Picture:
    name = hashlib.sha256(f"{scene}/{step}".encode()).digest()[:16]
    return Picture(name, phash, longer, shown, vector.astype(np.float32), size)


def draw_rows(
    rng: np.random.Generator, pictures: list[Picture], items: int, prefix: str = "item", files: int = 3
) -> list[Row]:
    """Items of these pictures; some are many times there, in one of so many files or in the same."""
    popular = rng.choice(len(pictures), p=rng.dirichlet(np.full(len(pictures), 0.7)), size=items)
    rows = []
    for number, which in enumerate(popular.tolist()):
        picture = pictures[which]
        file, own = int(rng.integers(files)), f"p{which // 2}"
        rows.append(
            {
                "item_id": f"{prefix}-{number:03d}",
                "product_id": [None, own, own, own, own, own, f"p{rng.integers(100)}"][int(rng.integers(7))],
                "embedding": picture.embedding,
                "content_hash": hashlib.sha256(picture.pixel_hash + bytes([file])).digest(),
                "pixel_hash": picture.pixel_hash,
                "phash": picture.phash,
                "phash_256": picture.phash_256,
                "thumbnail": picture.thumbnail,
                "width": picture.size[0],
                "height": picture.size[1],
                "bytes": 1_000 + file,
                "image_uri": f"/{number}.jpg",
                "source_version": "v",
                "split": [None, "train", "test", 'a "b", c'][int(rng.integers(4))],
                "label": [None, "cat", "dog"][int(rng.integers(3))],
                "made": int(rng.integers(3)),
            }
        )
    return rows


def write_store(
    root: Path,
    rows: list[Row],
    old: frozenset[int] = frozenset(),
    bare: frozenset[int] = frozenset(),
    rejects: int = 0,
    fingerprint: str = "f",
) -> str:
    """A store with the one snapshot 1 of those rows.

    Args:
        root: a folder that is not there yet.
        rows: with the columns of a file; `split`, `label` and `made` become metadata.
        old: partitions whose files are of before, without the columns that came later.
        bare: partitions whose files have no metadata but `made`, as a fraction; not all that there are.
        rejects: rows that could not be read.
        fingerprint: of the encoder.
    """
    root.mkdir(parents=True)
    partition = partitions_of([row["item_id"] for row in rows], PARTITIONS)
    bare = bare if set(partition.tolist()) - bare else frozenset()
    entries = []
    for each in range(PARTITIONS):
        mine = sorted((row for row, there in zip(rows, partition, strict=True) if there == each), key=_id)
        for half in (mine[::2], mine[1::2]):
            if half:
                gone = {**half[0], "item_id": half[0]["item_id"] + "-gone"}
                entries.append(_write_file(root, each, sorted([*half, gone], key=_id), each in old, each in bare, gone))
    found = [_write_rejects(root, rejects)] if rejects else []
    counts = Counts(len(rows) + rejects, len(rows), 0, rejects, {"not_found": rejects} if rejects else {})
    encoder = EncoderInfo("test", "test", DIMENSION, (8, 8), "cosine", False, fingerprint * 64)
    files = tuple(entries)
    snapshot = Snapshot(1, None, 1, "r", encoder, "float32", PARTITIONS, counts, files, tuple(found))
    write_snapshot(str(root), snapshot)
    return str(root)


def _id(row: Row) -> str:
    return str(row["item_id"])


def _write_file(root: Path, partition: int, rows: list[Row], old: bool, bare: bool, gone: Row) -> FileEntry:
    fields = [("made", pa.float64() if bare else pa.int64())]
    fields += [] if bare else [("split", pa.string()), ("label", pa.string())]
    metadata = pa.schema(fields)
    wanted = schema(DIMENSION, "float32", metadata)
    for name in _LATER if old else ():
        wanted = wanted.remove(wanted.get_field_index(name))
    columns: dict[str, Any] = {
        each.name: pa.array([row.get(each.name) for row in rows], each.type)
        for each in wanted
        if each.name not in ("embedding", "metadata")
    }
    columns["embedding"] = vector_array(np.stack([row["embedding"] for row in rows]), "float32")
    columns["metadata"] = pa.array([{name: row[name] for name in metadata.names} for row in rows], pa.struct(fields))
    writer = EmbeddingFileWriter(root / "scratch", wanted, "finger")
    writer.append(pa.table(columns))
    file = writer.store(str(root), f"files/{partition:05d}")
    return FileEntry(partition, file.path, file.sha256, file.bytes, file.rows, (gone["item_id"],))


def _write_rejects(root: Path, count: int) -> RejectsEntry:
    (root / "rejects").mkdir()
    pile = RejectPile(root)
    for number in range(count):
        pile.add(Reject(f"lost-{number}", f"catalog.csv:{number}", "not_found", f"/lost, {number}.jpg", 'no "file"'))
    path, digest = pile.write()
    path.rename(root / "rejects" / "0.parquet")
    return RejectsEntry(0, "rejects/0.parquet", digest, count)
