"""The index job: a snapshot to a published version.

Partitions are sampled, one worker trains, partitions are encoded and compared with the queries, codes are merged and
assembled, one worker evaluates and publishes. Each stage is a plain function of `index_builder.stages`; what a unit of
it stores is named by what it is of, so a job that was killed finds it again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam

from catalog import storage
from catalog.errors import MissingExtraError, UsageError
from catalog.manifest import Manifest, artifact_root, check_name, manifest_url
from catalog.snapshot import Snapshot, latest_snapshot, read_snapshot
from index_builder.build_progress import WHOLE, look, units_by_stage
from index_builder.measures import check_metric
from index_builder.planning.plan import PlanRequest, plan_index
from index_builder.publishing.marks import keep_build_from_collection
from index_builder.publishing.pins import pin
from index_builder.publishing.promote import Promotion, Request, promote, settle
from index_builder.publishing.publish import log_published
from index_builder.publishing.verdict import Thresholds
from index_builder.publishing.verify import read_published
from index_builder.training.earlier import built_before, earlier_version, keep_lists
from index_builder.version_job import VersionJob, version_id
from index_builder.work import WorkFolder
from pipelines.engine_presets import Job
from pipelines.index_steps import build
from pipelines.progress import Progress, watched
from pipelines.runner import check_hints, pipeline_options, run


@dataclass(frozen=True)
class IndexConfig:
    """One index job.

    Attributes:
        embeddings: URL of the embedding store.
        artifacts: URL of the artifact store.
        name: of the artifact.
        metric: None means the encoder's own.
        snapshot: None means the newest.
        rerank: `auto`, `stored` or `none`: whether the version keeps its vectors.
        channel: to point to the new version, if the gates let it pass; `candidate` in any case.
        thresholds: of the gates.
        forced: gates to override, each with its reason, from `check_forced`.
        labels: names and values to write into the manifest.
        pins: reasons to keep the version.
        parts: index files to share the lists between, for several servers.
        queries: items that the evaluation asks with.
        stratify: metadata column whose values all get their share of the training sample.
        retrain: train a codebook even where an earlier one still fits.
        memory: bytes that a stage may hold.
        recall_target: recall@10 that the default operating point should reach.
        latency_target: milliseconds that a single search may take there.
        memory_budget, bytes_per_vector, factory: see `index_builder.planning.plan.PlanRequest`.
        runs_on: the engine of `--engine`; None lets the runner in `beam_arguments` decide.
        hints: Beam resource hints of the steps that hold more than a stretch of the vectors.
        beam_arguments: flags for Beam.
    """

    embeddings: str
    artifacts: str
    name: str
    metric: str | None = None
    snapshot: int | None = None
    rerank: str = "auto"
    channel: str = "prod"
    thresholds: Thresholds = field(default_factory=Thresholds)
    forced: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    pins: tuple[str, ...] = ()
    parts: int = 1
    queries: int = 1_000
    stratify: str | None = None
    retrain: bool = False
    memory: int = 1 << 30
    recall_target: float | None = None
    latency_target: float | None = None
    memory_budget: int | None = None
    bytes_per_vector: float | None = None
    factory: str | None = None
    runs_on: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    beam_arguments: tuple[str, ...] = ()

    @property
    def asks(self) -> Job:
        """What the job asks of its engine."""
        return Job(self.hints, [("--embeddings", self.embeddings), ("--artifacts", self.artifacts)])


@dataclass(frozen=True)
class IndexSummary:
    """What an index job made; the fields of its `--json` line. `bytes` is the size of the FAISS index file; `promoted`
    says whether the channel points to the version, `gates` are the verdicts."""

    vectors: int
    dimension: int
    metric: str
    index: str
    bytes: int
    bytes_per_vector: float
    recall: dict[str, float]
    version: str
    channel: str
    promoted: bool
    gates: list[dict[str, Any]]
    seconds: float
    seconds_by_stage: dict[str, float] = field(default_factory=dict)


def index(
    config: IndexConfig,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> IndexSummary:
    """Runs the job and waits for it. A version that is published already is only judged and pointed to.

    Raises:
        UsageError: no embeddings, no such snapshot, or a metric that does not fit.
        ConflictError: somebody else moved the channel meanwhile.
    """
    return run_index(config, say, report)[0]


def run_index(
    config: IndexConfig,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
    before_moving: Callable[[], None] = lambda: None,
) -> tuple[IndexSummary, Promotion]:
    """`index`, and what the gates said.

    Args:
        config, say, report: see `index`.
        before_moving: called when the version is built and no channel points to it yet; what it raises ends the job.
    """
    started = time.monotonic()
    planned = plan_build(config, say)
    job, snapshot = planned.job, planned.snapshot
    if planned.built is not None:
        units = units_by_stage(job, snapshot)
        with watched(lambda: look(job, units), WHOLE, snapshot.vectors, report, every=_look_every(job.root)):
            _run(planned.pipeline, job, say)
    before_moving()
    manifest, promotion = settle_version(job, say)
    return _summarize(manifest, promotion, time.monotonic() - started), promotion


@dataclass(frozen=True)
class PlannedBuild:
    """An index job that may begin.

    Attributes:
        pipeline: of the build; without a step where the version is there already.
        job: the version.
        snapshot: what it is made of.
        built: what the last step of the build gives, once; None where the version is there already.
    """

    pipeline: beam.Pipeline
    job: VersionJob
    snapshot: Snapshot
    built: beam.PCollection | None


def plan_build(config: IndexConfig, say: Callable[[str], None] = lambda line: None) -> PlannedBuild:
    """Looks at the store, plans the version and puts its build together. Raises as `index` does before its work."""
    store = storage.absolute(config.embeddings)
    check_hints(config.hints)
    # Which validates Beam's flags, before any work.
    pipeline = beam.Pipeline(options=pipeline_options(config.beam_arguments, config.runs_on, config.asks, say))
    snapshot = latest_snapshot(store) if config.snapshot is None else read_snapshot(store, config.snapshot)
    if snapshot is None:
        raise UsageError(f"{store} has no snapshot; run catalog-indexer embed first")
    if snapshot.vectors == 0:
        raise UsageError(f"snapshot {snapshot.sequence} of {store} has no vectors; there is nothing to index")
    job = _plan_job(config, store, snapshot)
    say(f"snapshot {snapshot.sequence}: {snapshot.vectors:,} vectors of {snapshot.encoder.name}")
    say(f"plan: {job.plan.factory}, {job.plan.metric}; {job.plan.why}")
    if storage.exists(manifest_url(job.root, job.version)):
        say(f"version {job.version} is built already; verifying it")
        storage.delete_tree(WorkFolder(job).url)  # What a builder that died then has left.
        return PlannedBuild(pipeline, job, snapshot, None)
    keep_build_from_collection(job.root, job.version)
    say(f"building version {job.version}")
    return PlannedBuild(pipeline, job, snapshot, build(pipeline, job, snapshot, config.hints))


def settle_version(job: VersionJob, say: Callable[[str], None] = lambda line: None) -> tuple[Manifest, Promotion]:
    """Logs a version that was built and moves its channel, if the gates let it pass. Harmless to repeat.

    Raises:
        ConflictError: somebody else moved the channel meanwhile.
    """
    pointer = log_published(job.root, job.version)
    manifest = read_published(job.root, pointer)
    request = Request(job.channel, job.thresholds, dict(job.forced))
    if manifest.attempt == job.attempt:
        promotion = settle(job.root, manifest, pointer, request)
    else:  # Built before, or by another builder that was faster.
        _add_pins(job, manifest, say)
        promotion = promote(job.root, pointer, request)
    return manifest, promotion


def _add_pins(job: VersionJob, manifest: Manifest, say: Callable[[str], None]) -> None:
    """Pins a version that was built before for the reasons of this job. Its labels are what they are."""
    for reason in job.pins:
        if reason not in manifest.pins:
            pin(job.root, manifest, reason)
    if any(manifest.labels.get(name) != value for name, value in job.labels):
        say(f"version {job.version} was built before, and keeps the labels that it was given then: {manifest.labels}")


def _look_every(root: str) -> float:
    """Seconds between looks: on an object store each is a listing of thousands of objects."""
    return 1.0 if storage.scheme_of(root) in ("file", "memory") else 15.0


def _run(pipeline: beam.Pipeline, job: VersionJob, say: Callable[[str], None]) -> None:
    """Runs a build. Another builder of the same version may be faster and clear the work away; that is as good. What
    was asked for in a wrong way will not be resumed, and leaves no work behind; where a package is missing, it will."""
    try:
        run(pipeline, say)
    except Exception as error:
        if not storage.exists(manifest_url(job.root, job.version)):
            if isinstance(error, UsageError) and not isinstance(error, MissingExtraError):
                storage.delete_tree(WorkFolder(job).url)
            raise


def _plan_job(config: IndexConfig, store: str, snapshot: Snapshot) -> VersionJob:
    metric = check_metric(config.metric or snapshot.encoder.metric)
    root = storage.check_writable(artifact_root(config.artifacts, config.name))
    request = PlanRequest(
        memory_budget=config.memory_budget,
        bytes_per_vector=config.bytes_per_vector,
        recall_target=config.recall_target,
        latency_target_ms=config.latency_target,
        factory=config.factory,
        rerank=config.rerank,
        parts=config.parts,
    )
    width = 2 if snapshot.vector_type == "float16" else 4
    plan = plan_index(snapshot.vectors, snapshot.encoder.dimension, metric, request, width)
    job = VersionJob(
        root=root,
        name=config.name,
        store=store,
        fingerprint=snapshot.encoder.fingerprint,
        sequence=snapshot.sequence,
        plan=plan,
        channel=check_name("--channel", config.channel),
        queries=config.queries,
        stratify=config.stratify,
        recall_target=config.recall_target,
        latency_target_ms=config.latency_target,
        memory=config.memory,
        thresholds=config.thresholds,
        forced=tuple(sorted(config.forced.items())),
        labels=tuple(sorted(config.labels.items())),
        pins=config.pins,
        attempt=uuid.uuid4().hex,
    )
    if config.retrain:
        return replace(job, version=version_id(job, snapshot))
    if (before := built_before(root, job, snapshot, config.factory is None)) is not None:
        return before
    earlier = earlier_version(root, store, snapshot)
    if earlier is not None:
        kept = keep_lists(plan, earlier, snapshot.vectors) if config.factory is None else plan
        job = replace(job, earlier=earlier.version, plan=kept if request.budgets.hold(kept, snapshot.vectors) else plan)
    return replace(job, version=version_id(job, snapshot))


def _summarize(manifest: Manifest, promotion: Promotion, seconds: float) -> IndexSummary:
    size = sum(entry.bytes for entry in manifest.files if entry.role == "index")
    return IndexSummary(
        vectors=manifest.vectors,
        dimension=manifest.encoder.dimension,
        metric=manifest.metric,
        index=manifest.index["factory"],
        bytes=size,
        bytes_per_vector=round(size / manifest.vectors, 2),
        recall=manifest.recall,
        version=manifest.version,
        channel=promotion.channel,
        promoted=promotion.is_there,
        gates=[each.to_json() for each in promotion.verdicts],
        seconds=round(seconds, 3),
        seconds_by_stage=manifest.seconds_by_stage,
    )


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("index"))
