"""The steps of the index job as Beam sees them: what goes in, what comes out, and the plain function in between."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from catalog import storage
from catalog.manifest import manifest_url
from catalog.snapshot import read_snapshot
from catalog.vector_column import read_vectors
from index_builder.build import VersionJob, build_version
from index_builder.code_files import codebook_url, codes_url, read_codebook, write_codebook, write_codes
from index_builder.codebook import codebook_id, encode_vectors, train_codebook
from index_builder.ground_truth import Neighbours, exact_neighbours, merge_neighbours
from index_builder.measures import prepare
from index_builder.publish import point_to_published, publish
from index_builder.sample import QUERY_SEED, TRAINING_SEED, VectorSample, merge_samples, sample
from index_builder.snapshot_vectors import partition_vectors, row_offsets, rows_of_files

QUERIES = 1_000
# A hash threshold gives about the wanted number: aim a little higher and cut.
_OVERSAMPLING = 1.1

# When a stage first began and last ended, in seconds since 1970.
Spans = dict[str, tuple[float, float]]


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
            vectors = prepare(read_vectors(storage.join(job.store, entry.path), dimension), job.plan.metric)
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
            # Another builder was faster: its files are not touched.
            point_to_published(self._job.root, self._job.version, self._job.channel)
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
