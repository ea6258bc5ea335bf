"""Finishing: the stored files of a version evaluated, judged by the gates, and published. No channel moves here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from catalog import canonical_json, storage
from catalog.channel import read_channel
from catalog.errors import ConflictError
from catalog.manifest import ManifestFile, manifest_url, sha256_of, version_folder
from catalog.snapshot import Snapshot
from index_builder.evaluation.evaluate import Evaluation, limit_to
from index_builder.evaluation.evaluation_files import write_evaluation
from index_builder.evaluation.slices import columns_of
from index_builder.publishing.answers import ask, write_answers
from index_builder.publishing.gates import ask_gates
from index_builder.publishing.marks import keep_build_from_collection
from index_builder.publishing.publish import publish
from index_builder.publishing.soundness import Soundness, measure_soundness
from index_builder.searching.index_parts import load_flags
from index_builder.searching.items import Items
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.stages.assembling import stored_files
from index_builder.stages.describing import Built, describe, write_source
from index_builder.stages.encoding import exact_truth
from index_builder.stages.training import read_queries
from index_builder.version_job import VersionJob
from index_builder.work import WorkFolder

_ROLES = {
    "answers.arrow": "answers",
    "evaluation.json": "evaluation",
    "golden.npz": "golden",
    "recall.svg": "plot",
    "source.json": "source",
    "timings.json": "timings",
}


def finish(job: VersionJob, snapshot: Snapshot, seconds_by_stage: Mapping[str, float]) -> None:
    """Evaluates a version whose files are stored, asks the gates, publishes it, and clears its work away.

    Args:
        job: which.
        snapshot: the vectors.
        seconds_by_stage: of the stages before.
    """
    # Where another builder was faster, its files are not touched.
    if not storage.exists(manifest_url(job.root, job.version)):
        keep_build_from_collection(job.root, job.version)
        seconds, started = dict(seconds_by_stage), time.perf_counter()
        built = _measured(job, snapshot)
        seconds["evaluate"] = round(time.perf_counter() - started, 3)
        channel = read_channel(job.root, job.channel)
        parent = channel.pointer.version if channel.pointer is not None else None
        manifest = describe(job, snapshot, replace(built, seconds_by_stage=seconds), parent)
        started = time.perf_counter()
        verdicts = ask_gates(job.root, manifest, channel, job.thresholds, dict(job.forced))
        seconds["gates"] = round(time.perf_counter() - started, 3)
        judged = replace(manifest, gates=[each.to_json() for each in verdicts], seconds_by_stage=seconds)
        publish(job.root, judged)
    storage.delete_tree(WorkFolder(job).url)


def _measured(job: VersionJob, snapshot: Snapshot) -> Built:
    files = stored_files(job)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        made = Path(scratch) / "evaluation"
        made.mkdir()
        evaluation, soundness, flags = _evaluate(job, snapshot, files, Path(scratch))
        write_source(made / "source.json", snapshot)
        files += [_store(job, path) for path in sorted(made.iterdir())]
    return Built(files, evaluation, soundness, flags, {})


def _evaluate(
    job: VersionJob, snapshot: Snapshot, files: list[ManifestFile], scratch: Path
) -> tuple[Evaluation, Soundness, list[str]]:
    def local(role: str) -> list[Path]:
        urls = [storage.join(version_folder(job.root, job.version), each.path) for each in files if each.role == role]
        return [storage.local_copy(url, scratch) for url in urls]

    queries = read_queries(job)
    truth = exact_truth(job, snapshot, len(queries.rows))
    index, vectors, items = local("index"), local("vectors"), Items(local("items"))
    searcher = Searcher(index, vectors, job.plan.metric)
    served = write_evaluation(
        scratch / "evaluation",
        searcher,
        queries,
        truth,
        job.plan,
        vectors=searcher.rows,
        reranks=bool(vectors),
        title=f"{job.name} {job.version}: {job.plan.factory}, {job.plan.metric}, {len(queries.rows):,} queries",
        slices=columns_of(items, queries.rows),
        recall_target=job.recall_target,
        latency_target_ms=job.latency_target_ms,
    )
    timed = storage.join(version_folder(job.root, job.version), "timings.json")
    if job.latency_target_ms is not None and storage.exists(timed):
        # Measured by an earlier builder, whose times count: the version is served where that one would serve it.
        point = OperatingPoint.from_json(canonical_json.load(storage.read_bytes(timed), timed)["default"])
        if point != served.default and any(each.point == point for each in served.points):
            served = limit_to(served, [point], searcher, queries, truth)
    answers = ask(searcher, items, queries, truth, served.default)
    write_answers(scratch / "evaluation" / "answers.arrow", answers)
    return served, measure_soundness(searcher, items, answers), list(load_flags(index[0]))


def _store(job: VersionJob, path: Path) -> ManifestFile:
    url = storage.join(version_folder(job.root, job.version), path.name)
    # Another builder of the version has other times, and on another processor other last digits: the first one's
    # files count, so that both manifests are true and no published file is ever replaced.
    try:
        storage.create(url, path.read_bytes())
    except ConflictError:
        path.write_bytes(storage.read_bytes(url))
    digest, size = sha256_of(str(path))
    return ManifestFile(path.name, _ROLES[path.name], size, digest)
