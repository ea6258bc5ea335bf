"""Finishing: the stored files of a version evaluated, described, and published."""

from __future__ import annotations

import datetime
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from catalog.errors import ConflictError
from catalog.manifest import Manifest, ManifestFile, manifest_url, read_manifest, sha256_of, version_folder
from catalog.snapshot import Snapshot
from index_builder.evaluate import Evaluation, limit_to
from index_builder.evaluation_files import TIMED_FILES, write_evaluation
from index_builder.faiss_import import faiss
from index_builder.items import Items
from index_builder.publish import point_to_published, publish
from index_builder.searcher import OperatingPoint, Searcher
from index_builder.slices import columns_of
from index_builder.stages.assembling import stored_files
from index_builder.stages.encoding import exact_truth
from index_builder.stages.training import read_queries, read_training
from index_builder.version_job import VersionJob
from index_builder.work import WorkFolder

_ROLES = {"evaluation.json": "evaluation", "timings.json": "timings", "recall.svg": "plot", "golden.npz": "golden"}


def finish(job: VersionJob, snapshot: Snapshot, seconds_by_stage: Mapping[str, float]) -> None:
    """Evaluates and publishes a version whose files are stored, and clears its work away.

    Args:
        job: which.
        snapshot: the vectors.
        seconds_by_stage: of the stages before.
    """
    if storage.exists(manifest_url(job.root, job.version)):
        # Another builder was faster: its files are not touched.
        point_to_published(job.root, job.version, job.channel)
    else:
        seconds, started = dict(seconds_by_stage), time.perf_counter()
        files = stored_files(job)
        with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
            evaluation = _evaluate(job, snapshot, files, Path(scratch))
            files += [_store(job, path) for path in sorted((Path(scratch) / "evaluation").iterdir())]
        seconds["evaluate"] = round(time.perf_counter() - started, 3)
        publish(job.root, _manifest(job, snapshot, files, evaluation, seconds), job.channel)
    storage.delete_tree(WorkFolder(job).url)


def _evaluate(job: VersionJob, snapshot: Snapshot, files: list[ManifestFile], scratch: Path) -> Evaluation:
    def local(role: str) -> list[Path]:
        urls = [storage.join(version_folder(job.root, job.version), each.path) for each in files if each.role == role]
        return [storage.local_copy(url, scratch) for url in urls]

    (scratch / "evaluation").mkdir()
    queries = read_queries(job)
    truth = exact_truth(job, snapshot, len(queries.rows))
    vectors = local("vectors")
    searcher = Searcher(local("index"), vectors, job.plan.metric)
    served = write_evaluation(
        scratch / "evaluation",
        searcher,
        queries,
        truth,
        job.plan,
        vectors=searcher.rows,
        reranks=bool(vectors),
        title=f"{job.name} {job.version}: {job.plan.factory}, {job.plan.metric}, {len(queries.rows):,} queries",
        slices=columns_of(Items(local("items")), queries.rows),
        recall_target=job.recall_target,
        latency_target_ms=job.latency_target_ms,
    )
    timed = storage.join(version_folder(job.root, job.version), "timings.json")
    if job.latency_target_ms is not None and storage.exists(timed):
        # Measured by an earlier builder, whose times count: the version is served where that one would serve it.
        point = OperatingPoint.from_json(canonical_json.load(storage.read_bytes(timed), timed)["default"])
        if point != served.default and any(each.point == point for each in served.points):
            return limit_to(served, [point], searcher, queries, truth)
    return served


def _store(job: VersionJob, path: Path) -> ManifestFile:
    url = storage.join(version_folder(job.root, job.version), path.name)
    if path.name in TIMED_FILES:
        # Two builders of one version measure other times: the first one's count, so that both manifests are true.
        try:
            storage.create(url, path.read_bytes())
        except ConflictError:
            path.write_bytes(storage.read_bytes(url))
    else:
        storage.put_file(path, url)
    digest, size = sha256_of(str(path))
    return ManifestFile(path.name, _ROLES[path.name], size, digest)


def _manifest(
    job: VersionJob,
    snapshot: Snapshot,
    files: list[ManifestFile],
    evaluation: Evaluation,
    seconds_by_stage: dict[str, float],
) -> Manifest:
    training = read_training(job)
    report = dict(training.report)
    if training.codebook:
        report["best_recall"] = max(each.recall["10"] for each in evaluation.points)
        report["recall_when_trained"] = _recall_when_trained(job, report)
    return Manifest(
        version=job.version,
        name=job.name,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        encoder=snapshot.encoder,
        metric=job.plan.metric,
        vectors=snapshot.vectors,
        index=job.plan.to_json(),
        codebook=training.codebook,
        training=report,
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
        seconds_by_stage=seconds_by_stage,
        files=tuple(sorted(files, key=lambda each: each.path)),
    )


def _recall_when_trained(job: VersionJob, report: Mapping[str, Any]) -> float:
    """Best recall@10 of the first version with this codebook."""
    if report["decision"] == "kept" and job.earlier:
        return float(read_manifest(job.root, job.earlier).training["recall_when_trained"])
    return float(report["best_recall"])
