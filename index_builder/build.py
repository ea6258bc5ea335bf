"""The files of a version, from codes and a snapshot: assembled, evaluated and stored, ready to be published."""

from __future__ import annotations

import datetime
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from catalog.manifest import Manifest, ManifestFile, sha256_of, version_folder
from catalog.snapshot import Snapshot
from index_builder.code_files import codes_url, read_codebook, read_codes
from index_builder.evaluate import Evaluation, evaluate
from index_builder.faiss_import import faiss
from index_builder.ground_truth import Neighbours
from index_builder.index_file import write_flat_index, write_ivf_index
from index_builder.index_plan import IndexPlan
from index_builder.items import write_items
from index_builder.measures import faiss_metric, prepare
from index_builder.sample import VectorSample
from index_builder.searcher import Searcher
from index_builder.snapshot_vectors import (
    ITEM_COLUMNS,
    metadata_type,
    partition_vectors,
    read_partition,
    row_offsets,
    rows_of_files,
)
from index_builder.vector_file import write_vectors

# Part of a version's id: raised when the same snapshot and plan would give other bytes.
BUILDER_VERSION = 1
RERANK_FACTOR = 4


@dataclass(frozen=True)
class VersionJob:
    """One version to build.

    Attributes:
        root: URL of ARTIFACTS/<name>.
        name: of the artifact.
        store: URL of the embedding store.
        fingerprint: of its encoder.
        sequence: of its snapshot.
        version: id of the version.
        plan: what to build.
        keep_vectors: whether the version stores its vectors, for exact re-ranking.
        channel: to point to it.
    """

    root: str
    name: str
    store: str
    fingerprint: str
    sequence: int
    version: str
    plan: IndexPlan
    keep_vectors: bool
    channel: str


def version_id(snapshot: Snapshot, plan: IndexPlan, keep_vectors: bool) -> str:
    """Names a version by all that decides its bytes, so that the same build is the same version."""
    parts = [snapshot.to_json(), plan.identity(), keep_vectors, BUILDER_VERSION, faiss().__version__]
    return f"{snapshot.sequence:06d}-{canonical_json.digest(parts)[:10]}"


def build_version(
    job: VersionJob,
    snapshot: Snapshot,
    codebook: str | None,
    queries: VectorSample,
    truth: Neighbours,
    seconds_by_stage: dict[str, float],
) -> Manifest:
    """Writes every file of a version but its manifest.

    Args:
        job: what to build.
        snapshot: the vectors.
        codebook: id of the trained codebook, whose codes are all stored; None for a Flat index.
        queries: the evaluation's queries.
        truth: their exact neighbours.
        seconds_by_stage: of the stages before.

    Returns:
        The manifest, not yet written.
    """
    seconds = dict(seconds_by_stage)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        folder, started = Path(scratch), time.time()
        _assemble(job, snapshot, codebook, folder)
        seconds["assemble"] = round(time.time() - started, 3)
        started = time.time()
        evaluation = _evaluate(job, queries, truth, folder)
        seconds["evaluate"] = round(time.time() - started, 3)
        started = time.time()
        files = tuple(_store(job, path) for path in sorted(folder.iterdir()))
        seconds["store"] = round(time.time() - started, 3)
    return Manifest(
        version=job.version,
        name=job.name,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=snapshot.encoder,
        metric=job.plan.metric,
        vectors=snapshot.vectors,
        index=job.plan.to_json(),
        codebook=codebook,
        search=evaluation.default.to_json(),
        recall=evaluation.recall,
        source={"store": job.store, "snapshot": snapshot.sequence, "counts": asdict(snapshot.counts)},
        libraries={
            "faiss": faiss().__version__,
            "faiss_options": faiss().get_compile_options().strip(),
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
            "python": platform.python_version(),
        },
        seconds_by_stage=seconds,
        files=files,
    )


def _assemble(job: VersionJob, snapshot: Snapshot, codebook: str | None, folder: Path) -> None:
    offsets = row_offsets(snapshot)
    partitions = range(snapshot.partitions)
    items = (read_partition(job.store, snapshot, partition, ITEM_COLUMNS) for partition in partitions)
    write_items(folder / "items.arrow", items, offsets, metadata_type(job.store, snapshot))
    if codebook is None:
        blocks = [prepare(block, job.plan.metric) for block in _vectors(job, snapshot)]
        write_flat_index(folder / "index.faiss", np.concatenate(blocks), faiss_metric(job.plan.metric))
        return
    parts = [
        (read_codes(codes_url(job.root, codebook, entry)), numbers)
        for partition in partitions
        for entry, numbers in rows_of_files(job.store, snapshot, partition, int(offsets[partition]))
    ]
    write_ivf_index(folder / "index.faiss", read_codebook(job.root, codebook), parts)
    if job.keep_vectors:
        write_vectors(
            folder / "vectors.npy",
            (prepare(block, job.plan.metric) for block in _vectors(job, snapshot)),
            snapshot.vectors,
            snapshot.encoder.dimension,
            snapshot.vector_type,
        )


def _vectors(job: VersionJob, snapshot: Snapshot) -> Iterator[np.ndarray]:
    for partition in range(snapshot.partitions):
        yield partition_vectors(job.store, snapshot, partition)[1]


def _evaluate(job: VersionJob, queries: VectorSample, truth: Neighbours, folder: Path) -> Evaluation:
    vectors = [path for path in (folder / "vectors.npy",) if path.exists()]
    searcher = Searcher([folder / "index.faiss"], vectors, job.plan.metric)
    rerank = RERANK_FACTOR if vectors else 0
    evaluation = evaluate(searcher, queries, truth, job.plan.lists, rerank)
    (folder / "evaluation.json").write_bytes(canonical_json.dump(evaluation.to_json()))
    return evaluation


_ROLES = {
    "index.faiss": "index",
    "items.arrow": "items",
    "vectors.npy": "vectors",
    "evaluation.json": "evaluation",
}


def _store(job: VersionJob, path: Path) -> ManifestFile:
    storage.put_file(path, storage.join(version_folder(job.root, job.version), path.name))
    digest, size = sha256_of(str(path))
    return ManifestFile(path.name, _ROLES[path.name], size, digest)
