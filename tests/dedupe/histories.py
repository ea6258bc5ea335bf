"""Stores of drawn pictures without any image: pictures of a few families that every tier finds something in, and the
dedupe job run stage by stage in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.embedding_file import EmbeddingFileWriter, schema, vector_array
from catalog.encoder_info import EncoderInfo
from catalog.partition import partitions_of
from catalog.snapshot import Counts, FileEntry, Snapshot, list_snapshots, write_snapshot
from dedupe.lists import Lists
from dedupe.measure import Measure
from dedupe.settings import Settings
from dedupe.stages.finishing import finish
from dedupe.stages.showing import Pictures
from pipelines.dedupe import DedupeConfig, plan
from pipelines.dedupe_steps import plan_stages
from tests.dedupe.drawn import pictures

DIMENSION = 16
PARTITIONS = 4
FAMILIES, VERSIONS = 6, 7
POOL = FAMILIES * VERSIONS


def _pool() -> list[dict[str, Any]]:
    draw = np.random.default_rng(5)
    thumbnails, vectors = pictures(FAMILIES, VERSIONS, 3, DIMENSION)
    phashes = draw.integers(0, 2**63, FAMILIES)
    pool: list[dict[str, Any]] = []
    for number in range(POOL):
        family, version = divmod(number, VERSIONS)
        phash = int(phashes[family])
        for bit in draw.choice(64, int(draw.integers(0, 4)), replace=False).tolist():
            phash ^= 1 << bit
        picture = {
            "content_hash": draw.bytes(32),
            "pixel_hash": draw.bytes(16),
            "phash": phash,
            "phash_256": draw.bytes(32) if version == 6 else bytes([family] * 32),
            "thumbnail": thumbnails[number].tobytes(),
            "vector": vectors[number],
        }
        if version == 1:  # The same pixels in another file.
            picture = {**pool[-1], "content_hash": picture["content_hash"]}
        if version == 3:  # Pixels that differ where hashes and thumbnail do not.
            picture |= {name: pool[-1][name] for name in ("phash", "phash_256", "thumbnail")}
        if number == 4:
            picture["thumbnail"] = bytes([250]) * 192
        pool.append(picture)
    return pool


PICTURES = _pool()


def write_store(store: Path, items: Mapping[str, int], partitions: int = PARTITIONS) -> None:
    """Adds a snapshot of those items, each with a picture of the pool."""
    store.parent.mkdir(parents=True, exist_ok=True)
    number = len(list_snapshots(str(store))) + 1
    files = []
    places = partitions_of(items, partitions)
    file_schema = schema(DIMENSION, "float32", pa.schema([]))
    for partition in range(partitions):
        ids = sorted(item for item, place in zip(items, places.tolist(), strict=True) if place == partition)
        if not ids:
            continue
        told = [PICTURES[items[item]] for item in ids]
        writer = EmbeddingFileWriter(store.parent / "scratch", file_schema, "drawn")
        columns: dict[str, Any] = {
            "item_id": pa.array(ids),
            "product_id": pa.array([item[:2] for item in ids]),
            "embedding": vector_array(np.stack([each["vector"] for each in told]), "float32"),
            "width": pa.array([40 + items[item] for item in ids], pa.int32()),
            "height": pa.array([30] * len(ids), pa.int32()),
            "image_uri": pa.array([f"/nowhere/{item}.png" for item in ids]),
            "source_version": pa.array([""] * len(ids)),
            "bytes": pa.array([1_000 + items[item] for item in ids], pa.int64()),
        }
        for name in ("content_hash", "pixel_hash", "phash", "phash_256", "thumbnail"):
            columns[name] = pa.array([each[name] for each in told], file_schema.field(name).type)
        writer.append(pa.table(columns))
        written = writer.store(str(store), f"files/{partition:05d}")
        files.append(FileEntry(partition, written.path, written.sha256, written.bytes, written.rows))
    write_snapshot(
        str(store),
        Snapshot(
            sequence=number,
            parent=number - 1 or None,
            lineage=1,
            run=f"run-{number}",
            encoder=EncoderInfo("drawn", "drawn", DIMENSION, (32, 32), "cosine", False, "drawn"),
            vector_type="float32",
            partitions=partitions,
            counts=Counts(len(items), len(items), 0, 0),
            files=tuple(files),
            rejects=(),
        ),
    )


def compared(
    store: Path, output: Path, settings: Settings | None = None, lists: int = 3, **config: Any
) -> dict[str, Any]:
    """The summary of a report that is made here and now; without `since`, by a measure and lists of the pool."""
    if "since" not in config:
        thumbnails = np.stack([np.frombuffer(each["thumbnail"], np.uint8) for each in PICTURES])
        vectors = np.stack([each["vector"] for each in PICTURES])
        measure = Measure.fit(thumbnails, vectors)
        described = measure.describe(thumbnails, vectors)[:, 0]
        output.mkdir(parents=True)
        measure.save(str(output / "measure.npz"))
        Lists.train(np.ascontiguousarray(described), lists, measure.scoring).save(str(output / "lists.npz"))
    layout = plan(DedupeConfig({"": str(store)}, str(output), settings or Settings(), **config))
    for _, stage, units in plan_stages(layout):
        stage.setup()
        for unit in units:
            list(stage.process(unit))
    return finish(layout, Pictures(0, lambda uris: {}))
