"""The index job: a snapshot to a published version.

Partitions are sampled, one worker trains, partitions are encoded and compared with the queries, one worker assembles,
evaluates and publishes. Each step is a plain function of `index_builder`; what it stores is named by content, so a job
that was killed finds it again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np

from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.errors import UsageError
from catalog.manifest import Manifest, Pointer, artifact_root, check_name, manifest_url, read_log, read_manifest
from catalog.snapshot import Snapshot, latest_snapshot, read_snapshot
from index_builder.build import VersionJob, build_version, version_id
from index_builder.catalog_index import verify
from index_builder.code_files import codebook_url, codes_url, read_codebook, write_codebook, write_codes
from index_builder.codebook import codebook_id, encode_vectors, train_codebook
from index_builder.ground_truth import Neighbours, exact_neighbours, merge_neighbours
from index_builder.measures import check_metric, prepare
from index_builder.plan import plan_index
from index_builder.publish import append_to_log, flip, publish
from index_builder.sample import QUERY_SEED, TRAINING_SEED, VectorSample, merge_samples, sample
from index_builder.snapshot_vectors import partition_vectors, row_offsets, rows_of_files
from pipelines.runner import pipeline_options, run

QUERIES = 1_000
# Vectors are kept for re-ranking up to this size, unless a flag says otherwise.
_KEEP_VECTORS_BELOW = 4 << 30
# A hash threshold gives about the wanted number: aim a little higher and cut.
_OVERSAMPLING = 1.1

Spans = dict[str, tuple[float, float]]


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
    options = pipeline_options(config.beam_arguments)
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
        _point_to_existing(job)
    else:
        say(f"building version {job.version}")
        pipeline = beam.Pipeline(options=options)
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
        root=artifact_root(config.artifacts, config.name),
        name=config.name,
        store=store,
        fingerprint=snapshot.encoder.fingerprint,
        sequence=snapshot.sequence,
        version=version_id(snapshot, plan, keep),
        plan=plan,
        keep_vectors=keep,
        channel=check_name("--channel", config.channel),
    )


def _point_to_existing(job: VersionJob) -> None:
    """Raises IntegrityError when the version is not what was published; no channel is pointed to that."""
    data = storage.read_bytes(manifest_url(job.root, job.version))
    logged = [entry for entry in read_log(job.root) if entry.version == job.version]
    verify(job.root, logged[-1] if logged else Pointer(job.version, hashlib.sha256(data).hexdigest(), 0))
    flip(job.root, job.channel, append_to_log(job.root, job.version, hashlib.sha256(data).hexdigest()))


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


@dataclass(frozen=True)
class Sampled:
    """Of one partition: vectors to train on, vectors to ask with, and when it was done."""

    training: VectorSample
    queries: VectorSample
    spans: Spans


@dataclass(frozen=True)
class Trained:
    """The codebook's id (None for a Flat index), the queries, prepared, and when it was done."""

    codebook: str | None
    queries: VectorSample
    spans: Spans


@dataclass(frozen=True)
class Encoded:
    """Exact neighbours among some partitions, whose codes are stored; and when it was done."""

    neighbours: list[Neighbours]
    spans: Spans


class SnapshotDoFn(beam.DoFn):
    """A step that reads the job's snapshot."""

    def __init__(self, job: VersionJob) -> None:
        self._job = job

    def setup(self) -> None:
        self._snapshot = read_snapshot(self._job.store, self._job.sequence)
        self._offsets = row_offsets(self._snapshot)


class SamplePartition(SnapshotDoFn):
    """A partition to its share of the training sample and of the queries."""

    def process(self, partition: int) -> Iterator[Sampled]:
        started = time.time()
        total, plan = self._snapshot.vectors, self._job.plan
        ids, vectors = partition_vectors(self._job.store, self._snapshot, partition)
        first = int(self._offsets[partition])
        yield Sampled(
            sample(ids, vectors, first, TRAINING_SEED + plan.seed, _OVERSAMPLING * plan.training_rows / total),
            sample(ids, vectors, first, QUERY_SEED, _OVERSAMPLING * QUERIES / total),
            {"sample": (started, time.time())},
        )


class Train(beam.DoFn):
    """All samples to one stored codebook; one that is stored already is not trained again."""

    def __init__(self, job: VersionJob) -> None:
        self._job = job

    def process(self, sampled: list[Sampled]) -> Iterator[Trained]:
        started = time.time()
        job, plan = self._job, self._job.plan
        queries = merge_samples([part.queries for part in sampled], QUERIES)
        queries = VectorSample(queries.keys, queries.rows, prepare(queries.vectors, plan.metric))
        codebook = None
        if plan.family != "flat":
            training = merge_samples([part.training for part in sampled], plan.training_rows)
            codebook = codebook_id(plan, job.fingerprint, training.vectors)
            if not storage.exists(codebook_url(job.root, codebook)):
                data = train_codebook(prepare(training.vectors, plan.metric), plan)
                write_codebook(job.root, codebook, data, plan, len(training.keys))
        spans = merge_spans(part.spans for part in sampled)
        yield Trained(codebook, queries, {**spans, "train": (started, time.time())})


class EncodeCodes(SnapshotDoFn):
    """A partition to the stored codes of its files, and to the queries' exact neighbours in it, in one read."""

    def __init__(self, job: VersionJob) -> None:
        super().__init__(job)
        self._codebook: Any = None

    def process(self, partition: int, trained: Trained) -> Iterator[Encoded]:
        started = time.time()
        job, dimension = self._job, self._snapshot.encoder.dimension
        if trained.codebook and self._codebook is None:
            self._codebook = read_codebook(job.root, trained.codebook)
        neighbours = []
        for entry, numbers in rows_of_files(job.store, self._snapshot, partition, int(self._offsets[partition])):
            stored = vectors_of(read_file(storage.join(job.store, entry.path), ["embedding"])["embedding"], dimension)
            vectors = prepare(stored, job.plan.metric)
            if trained.codebook:
                url = codes_url(job.root, trained.codebook, entry)
                if not storage.exists(url):
                    write_codes(url, encode_vectors(self._codebook, vectors))
            live = numbers >= 0
            neighbours.append(exact_neighbours(trained.queries.vectors, vectors[live], numbers[live], job.plan.metric))
        yield Encoded(neighbours, {"encode": (started, time.time())})


class MergeEncoded(beam.CombineFn):
    """The nearest of all partitions."""

    def __init__(self, metric: str) -> None:
        self._metric = metric

    def create_accumulator(self) -> Encoded:
        return Encoded([], {})

    def add_input(self, accumulator: Encoded, element: Encoded) -> Encoded:
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[Encoded]) -> Encoded:
        accumulators = list(accumulators)
        parts = [part for accumulator in accumulators for part in accumulator.neighbours]
        merged = [merge_neighbours(parts, self._metric)] if parts else []
        return Encoded(merged, merge_spans(accumulator.spans for accumulator in accumulators))

    def extract_output(self, accumulator: Encoded) -> Encoded:
        return accumulator


class BuildAndPublish(SnapshotDoFn):
    """Codes and neighbours to a published version."""

    def process(self, encoded: Encoded, trained: Trained) -> None:
        if storage.exists(manifest_url(self._job.root, self._job.version)):
            _point_to_existing(self._job)  # Another builder was faster: its files are not touched.
            return
        spans = merge_spans([trained.spans, encoded.spans])
        seconds = {stage: round(end - start, 3) for stage, (start, end) in spans.items()}
        manifest = build_version(
            self._job, self._snapshot, trained.codebook, trained.queries, encoded.neighbours[0], seconds
        )
        publish(self._job.root, manifest, self._job.channel)


def merge_spans(spans: Iterable[Spans]) -> Spans:
    """From the first start to the last end of each stage."""
    merged: Spans = {}
    for each in spans:
        for stage, (start, end) in each.items():
            first, last = merged.get(stage, (np.inf, -np.inf))
            merged[stage] = (min(first, start), max(last, end))
    return merged
