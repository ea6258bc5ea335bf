"""The stages of the index job as Beam sees them: units of work go in, one unit at a time is done, a barrier follows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from catalog.snapshot import Snapshot, read_snapshot
from index_builder.stages.assembling import merge_codes, write_index_part, write_shard
from index_builder.stages.encoding import encode_stretch
from index_builder.stages.finishing import finish
from index_builder.stages.sampling import count_strata, sample_partition, sampled_rows, total_strata
from index_builder.stages.training import codebook_to_use, read_queries, read_training, train
from index_builder.version_job import VersionJob
from index_builder.work import encoded_stretches, run_stretches, sampled_partitions, shards

# When a stage first began and last ended, in seconds since 1970; and seconds of work of one kind, over all workers.
Spans = dict[str, tuple[float, float]]


class Stage(beam.DoFn):
    """A unit of work to how long it took. What all units need - snapshot, codebook, queries - is read once a worker."""

    name = ""

    def __init__(self, job: VersionJob) -> None:
        self._job = job

    def setup(self) -> None:
        self._snapshot = read_snapshot(self._job.store, self._job.sequence)
        self._shared: Any = None

    def process(self, unit: Any) -> Iterator[Spans]:
        started = time.time()
        if self._shared is None:
            self._shared = self.shared()
        self.work(unit)
        yield {self.name: (started, time.time())}

    def shared(self) -> Any:
        """What the units of a worker share, read when the first of them begins."""
        return ()

    def work(self, unit: Any) -> None:
        """Does a unit."""
        raise NotImplementedError


class CountStrata(Stage):
    """A partition to its rows by value of the column to stratify by."""

    name = "count"

    def work(self, unit: int) -> None:
        count_strata(self._job, self._snapshot, unit)


class Sample(Stage):
    """A partition to its share of the training sample and of the queries."""

    name = "sample"

    def shared(self) -> Any:
        strata = total_strata(self._job, self._snapshot) if self._job.stratify else None
        return sampled_rows(self._job, self._snapshot), strata

    def work(self, unit: int) -> None:
        sample_partition(self._job, self._snapshot, unit, *self._shared)


class Train(Stage):
    """All samples to one codebook."""

    name = "train"

    def work(self, unit: int) -> None:
        train(self._job, self._snapshot)


class Encode(Stage):
    """A stretch of partitions to its codes and exact neighbours."""

    name = "encode"

    def shared(self) -> Any:
        codebook = codebook_to_use(self._job)
        name = read_training(self._job).codebook
        return (name, codebook) if name and codebook else None, read_queries(self._job)

    def work(self, unit: int) -> None:
        encode_stretch(self._job, self._snapshot, encoded_stretches(self._snapshot)[unit], *self._shared)


class Merge(Stage):
    """A stretch of partitions to a run of its codes."""

    name = "merge"

    def work(self, unit: int) -> None:
        codebook = read_training(self._job).codebook
        assert codebook is not None
        stretch = run_stretches(self._snapshot, self._job)[unit]
        merge_codes(self._job, self._snapshot, stretch, codebook)


class Assemble(Stage):
    """A file of the version: a part of the index, or a shard of the items and vectors."""

    name = "assemble"

    def shared(self) -> Any:
        return (codebook_to_use(self._job),)

    def work(self, unit: tuple[str, int]) -> None:
        kind, number = unit
        if kind == "part":
            write_index_part(self._job, self._snapshot, number, self._shared[0])
        else:
            write_shard(self._job, self._snapshot, number)


class Finish(beam.DoFn):
    """Everything stored to a published version."""

    def __init__(self, job: VersionJob) -> None:
        self._job = job

    def process(self, spans: Spans) -> Iterator[str]:
        snapshot = read_snapshot(self._job.store, self._job.sequence)
        finish(self._job, snapshot, {stage: round(end - start, 3) for stage, (start, end) in spans.items()})
        yield self._job.version


def plan_stages(job: VersionJob, snapshot: Snapshot) -> list[tuple[type[Stage], Sequence[Any]]]:
    """The stages in their order, each with its units; every unit of a stage is done before the next begins."""
    partitions = range(snapshot.partitions)
    parts = [("part", number) for number in range(job.plan.parts)]
    shard_numbers = [("shard", number) for number in range(len(shards(snapshot)))]
    stages: list[tuple[type[Stage], Sequence[Any]]] = [
        (CountStrata, partitions if job.stratify else []),
        (Sample, sampled_partitions(snapshot, job)),
        (Train, [0]),
        (Encode, range(len(encoded_stretches(snapshot)))),
        (Merge, range(len(run_stretches(snapshot, job))) if job.plan.lists else []),
        (Assemble, parts + shard_numbers),
    ]
    return [(stage, list(units)) for stage, units in stages if units]


# The steps that hold more than a stretch of the vectors: all of the sample, a run or a range of lists, the version.
_LARGE = (Train, Merge, Assemble, Finish)


def build(
    pipeline: beam.Pipeline, job: VersionJob, snapshot: Snapshot, hints: Mapping[str, str] | None = None
) -> beam.PCollection:
    """Adds the job to `pipeline`.

    Args:
        hints: resource hints of the steps that hold more than a stretch of the vectors, such as `min_ram`.

    Returns:
        The version, once it is published and no channel points to it yet.
    """

    def step(of: Stage | Finish) -> beam.ParDo:
        transform = beam.ParDo(of)
        return transform.with_resource_hints(**hints) if hints and isinstance(of, _LARGE) else transform

    before = pipeline | "Begin" >> beam.Create([{}])
    for stage, units in plan_stages(job, snapshot):
        done = (
            before
            | f"{stage.__name__}Units" >> beam.FlatMap(_Units(units))
            | f"Spread{stage.__name__}" >> beam.Reshuffle()
            | stage.__name__ >> step(stage(job))
        )
        before = (before, done) | f"Gather{stage.__name__}" >> beam.Flatten()
        before = before | f"After{stage.__name__}" >> beam.CombineGlobally(merge_spans)
    return before | "Finish" >> step(Finish(job))


class _Units:
    """The units of a stage, whatever came before."""

    def __init__(self, units: Sequence[Any]) -> None:
        self._units = list(units)

    def __call__(self, spans: Spans) -> Iterable[Any]:
        return self._units


def merge_spans(spans: Iterable[Spans]) -> Spans:
    """From the first start to the last end of each stage."""
    merged: Spans = {}
    for each in spans:
        for stage, (start, end) in each.items():
            first, last = merged.get(stage, (np.inf, -np.inf))
            merged[stage] = (min(first, start), max(last, end))
    return merged
