"""Versions for the tests: of any family, in one file or in parts, with items that have columns to choose by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from catalog import canonical_json
from catalog.channel import read_channel
from catalog.encoder_info import EncoderInfo
from catalog.manifest import Manifest, ManifestFile, sha256_of
from catalog.partition import partitions_of
from index_builder.evaluation.golden import Golden, ask_golden, write_golden
from index_builder.measures import faiss_metric, prepare
from index_builder.publishing.promote import move
from index_builder.publishing.publish import publish
from index_builder.searching.items import write_items
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.searching.vector_file import write_vectors
from index_builder.training.sample import VectorSample

_PARTITIONS = 8
_METADATA = pa.struct(
    [("colour", pa.string()), ("price", pa.float64()), ("stock", pa.int64()), ("tags", pa.list_(pa.string()))]
)
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("item_id", "product_id", "image_uri")] + [("metadata", _METADATA)]
)
COLOURS = ("red", "green", "blue", None)


def build_index(factory: str, vectors: np.ndarray, metric: str) -> Any:
    """A FAISS index of prepared vectors."""
    index = faiss.index_factory(vectors.shape[1], factory, faiss_metric(metric))
    index.train(vectors)
    index.add(vectors)
    return index


def write_parts(index: Any, folder: Path, parts: int) -> list[Path]:
    """The index in files that share its lists, each with all centroids."""
    whole, paths = faiss.serialize_index(index), []
    for number in range(parts):
        part = faiss.deserialize_index(whole)
        lists = faiss.extract_index_ivf(part)
        for each in range(lists.nlist):
            if each * parts // lists.nlist != number:
                lists.invlists.resize(each, 0)
        part.ntotal = lists.ntotal = lists.invlists.compute_ntotal()
        paths.append(folder / f"index.part-{number:03d}.faiss")
        faiss.write_index(part, str(paths[-1]))
    return paths


def rows_in_order(count: int) -> list[dict[str, Any]]:
    """Items with every kind of column, in the row order of a version."""
    ids = [f"item-{number:05d}" for number in range(count)]
    partitions = partitions_of(ids, _PARTITIONS).tolist()
    rows = []
    for _, item_id in sorted(zip(partitions, ids, strict=True)):
        number = int(item_id[5:])
        metadata = {
            "colour": COLOURS[number % 4],
            "price": number % 10 + 0.5,
            "stock": number % 7,
            "tags": [str(number % 3)],
        }
        uri = None if number % 5 == 0 else f"/{number}.jpg"
        product = None if number % 11 == 0 else f"p{number // 3}"
        rows.append({"item_id": item_id, "product_id": product, "image_uri": uri, "metadata": metadata})
    return rows


def _golden(folder: Path, prepared: np.ndarray, metric: str, point: dict[str, int]) -> Golden:
    """What a version answers to every so-manieth of its vectors."""
    paths = [sorted(folder.glob(pattern)) for pattern in ("index*.faiss", "vectors*.npy")]
    rows = np.arange(0, len(prepared), max(1, len(prepared) // 32))
    sample = VectorSample(rows.astype(np.uint64), rows, prepared[rows])
    return ask_golden(Searcher(*paths, metric), sample, OperatingPoint.from_json(point))


def publish_version(
    root: Path,
    vectors: np.ndarray,
    metric: str,
    factory: str,
    point: dict[str, int],
    index_parts: int = 1,
    shards: int = 1,
    keep_vectors: bool = True,
    points: list[dict[str, Any]] | None = None,
    name: str = "shop",
    vector_type: str = "float32",
    version: str = "v1",
    encoder: str = "f" * 64,
    move_channel: bool = True,
) -> list[dict[str, Any]]:
    """Publishes vectors [n, d] under ROOT/<name>; returns the items, row by row."""
    rows = rows_in_order(len(vectors))
    prepared = prepare(vectors, metric)
    folder = root / name / "versions" / version
    folder.mkdir(parents=True)
    index = build_index(factory, prepared, metric)
    if index_parts == 1:
        faiss.write_index(index, str(folder / "index.faiss"))
    else:
        write_parts(index, folder, index_parts)
    sizes = np.bincount(partitions_of([row["item_id"] for row in rows], _PARTITIONS), minlength=_PARTITIONS)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    for shard in range(shards):
        low, high = (shard * _PARTITIONS // shards, (shard + 1) * _PARTITIONS // shards)
        first, last = int(offsets[low]), int(offsets[high])
        part = "" if shards == 1 else f".part-{shard:03d}"
        table = pa.Table.from_pylist(rows[first:last], _SCHEMA)
        write_items(folder / f"items{part}.arrow", [table], offsets, _METADATA, first)
        if keep_vectors:
            shape = last - first, vectors.shape[1]
            write_vectors(folder / f"vectors{part}.npy", [prepared[first:last]], *shape, vector_type)
    (folder / "evaluation.json").write_bytes(canonical_json.dump({"schema_version": 1, "points": points or []}))
    write_golden(folder / "golden.npz", _golden(folder, prepared, metric, point))
    files = []
    for path in sorted(folder.iterdir()):
        digest, size = sha256_of(str(path))
        files.append(ManifestFile(path.name, path.name.split(".")[0], size, digest))
    manifest = Manifest(
        version=version,
        name=name,
        created_at="2026-01-01T00:00:00+00:00",
        encoder=EncoderInfo("tiny", "test", vectors.shape[1], (8, 8), metric, metric == "cosine", encoder),
        metric=metric,
        vectors=len(vectors),
        index={"factory": factory},
        codebook=None,
        training={},
        search=point,
        recall={"1": 1.0, "10": 1.0, "100": 1.0},
        source={},
        libraries={},
        seconds_by_stage={},
        files=tuple(files),
    )
    artifact = str(root / name)
    pointer = publish(artifact, manifest)[1]
    if move_channel:
        move(artifact, read_channel(artifact, "prod"), pointer, [])
    return rows
