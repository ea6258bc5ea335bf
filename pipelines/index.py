"""The index job: a snapshot to a published version.

Partitions are sampled, one worker trains, partitions are encoded and compared with the queries, one worker assembles,
evaluates and publishes. Each step is a plain function of `index_builder`; what it stores is named by content, so a job
that was killed finds it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import apache_beam as beam

from catalog import storage
from catalog.errors import UsageError
from catalog.manifest import Manifest, artifact_root, check_name, manifest_url, read_manifest
from catalog.snapshot import Snapshot, latest_snapshot, read_snapshot
from index_builder.build import VersionJob, version_id
from index_builder.measures import check_metric
from index_builder.plan import plan_index
from index_builder.publish import point_to_published
from pipelines.index_steps import BuildAndPublish, EncodeCodes, MergeEncoded, SamplePartition, Train
from pipelines.runner import pipeline_options, run

# Vectors are kept for re-ranking up to this size, unless a flag says otherwise.
_KEEP_VECTORS_BELOW = 4 << 30


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
        channel: to point to the new version.
        beam_arguments: flags for Beam.
    """

    embeddings: str
    artifacts: str
    name: str
    metric: str | None = None
    snapshot: int | None = None
    rerank: str = "auto"
    channel: str = "prod"
    beam_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexSummary:
    """What an index job made; the fields of its `--json` line. `bytes` is the size of the FAISS index file."""

    vectors: int
    dimension: int
    metric: str
    index: str
    bytes: int
    bytes_per_vector: float
    recall: dict[str, float]
    version: str
    channel: str
    seconds: float
    seconds_by_stage: dict[str, float] = field(default_factory=dict)


def index(config: IndexConfig, say: Callable[[str], None] = lambda line: None) -> IndexSummary:
    """Runs the job and waits for it. A version that is published already is only pointed to.

    Raises:
        UsageError: no embeddings, no such snapshot, or a metric that does not fit.
    """
    started = time.monotonic()
    store = storage.absolute(config.embeddings)
    pipeline = beam.Pipeline(options=pipeline_options(config.beam_arguments))  # Which validates them, before any work.
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
        point_to_published(job.root, job.version, job.channel)
    else:
        say(f"building version {job.version}")
        build(pipeline, job, snapshot)
        run(pipeline)
    return _summarize(read_manifest(job.root, job.version), config.channel, time.monotonic() - started)


def _plan_job(config: IndexConfig, store: str, snapshot: Snapshot) -> VersionJob:
    metric = check_metric(config.metric or snapshot.encoder.metric)
    plan = plan_index(snapshot.vectors, snapshot.encoder.dimension, metric)
    width = 2 if snapshot.vector_type == "float16" else 4
    fits = snapshot.vectors * snapshot.encoder.dimension * width <= _KEEP_VECTORS_BELOW
    keep = plan.family != "flat" and (config.rerank == "stored" or (config.rerank == "auto" and fits))
    return VersionJob(
        root=storage.check_writable(artifact_root(config.artifacts, config.name)),
        name=config.name,
        store=store,
        fingerprint=snapshot.encoder.fingerprint,
        sequence=snapshot.sequence,
        version=version_id(snapshot, plan, keep),
        plan=plan,
        keep_vectors=keep,
        channel=check_name("--channel", config.channel),
    )


def _summarize(manifest: Manifest, channel: str, seconds: float) -> IndexSummary:
    entry = manifest.file("index")
    assert entry is not None
    return IndexSummary(
        vectors=manifest.vectors,
        dimension=manifest.encoder.dimension,
        metric=manifest.metric,
        index=manifest.index["factory"],
        bytes=entry.bytes,
        bytes_per_vector=round(entry.bytes / manifest.vectors, 2),
        recall=manifest.recall,
        version=manifest.version,
        channel=channel,
        seconds=round(seconds, 3),
        seconds_by_stage=manifest.seconds_by_stage,
    )


def build(pipeline: beam.Pipeline, job: VersionJob, snapshot: Snapshot) -> None:
    """Adds the job to `pipeline`."""
    partitions = (
        pipeline
        | "Partitions" >> beam.Create(list(range(snapshot.partitions)))
        | "SpreadPartitions" >> beam.Reshuffle()
    )
    trained = (
        partitions
        | "Sample" >> beam.ParDo(SamplePartition(job))
        | "CollectSamples" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "Train" >> beam.ParDo(Train(job))
    )
    side = beam.pvalue.AsSingleton(trained)
    (
        partitions
        | "Encode" >> beam.ParDo(EncodeCodes(job), side)
        | "MergeNeighbours" >> beam.CombineGlobally(MergeEncoded(job.plan.metric))
        | "BuildAndPublish" >> beam.ParDo(BuildAndPublish(job), side)
    )


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("index"))
