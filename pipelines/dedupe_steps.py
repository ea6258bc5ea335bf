"""The stages of the dedupe job as Beam sees them: units go in, one at a time is done, a barrier follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from catalog import storage
from dedupe.earlier import Earlier
from dedupe.job import DedupeJob, Layout
from dedupe.lists import Lists
from dedupe.measure import Measure
from dedupe.stages.composing import compose
from dedupe.stages.connecting import check, connect, label, rounds
from dedupe.stages.describing import describe, group_sizes, reviewed_rows
from dedupe.stages.finishing import finish
from dedupe.stages.gathering import gather
from dedupe.stages.grouping import group
from dedupe.stages.joining import found_urls, join_classes, join_hashes, join_lists, looks_for
from dedupe.stages.merging import merge
from dedupe.stages.recalling import recall_first, recall_high, recall_low, recall_second
from dedupe.stages.settling import settle
from dedupe.stages.showing import Pictures
from dedupe.stages.spreading import list_units, spread
from dedupe.stages.training import train
from dedupe.verified_pixels import partitions_of, verify
from pipelines.pixel_hashes import hash_all
from pipelines.report_pictures import small_pictures


class Stage(beam.DoFn):
    """A unit of work to nothing but its end. What all units need is read once a worker."""

    def __init__(self, job: DedupeJob) -> None:
        self._job = job

    def setup(self) -> None:
        self.layout = Layout(self._job)
        self._shared: Any = None

    def process(self, unit: Any) -> Iterator[int]:
        if self._shared is None:
            self._shared = self.shared()
        self.work(unit)
        yield 1

    def shared(self) -> Any:
        """What the units of a worker share, read when the first of them begins."""
        return ()

    def work(self, unit: Any) -> None:
        """Does a unit."""
        raise NotImplementedError


class Verify(Stage):
    """The images of a partition to hashes of their pixels."""

    def work(self, unit: tuple[int, int]) -> None:
        verify(self.layout, unit, hash_all)


class Describe(Stage):
    """A stretch of items to what their copies are looked up by."""

    def work(self, unit: int) -> None:
        describe(self.layout, self.layout.stretches[unit])


class Count(Stage):
    """The values that items are grouped by, before pairs are looked for: too many end the job."""

    def work(self, unit: int) -> None:
        group_sizes(self.layout)


class Train(Stage):
    """A sample to a measure and lists."""

    def work(self, unit: int) -> None:
        train(self.layout)


class Spread(Stage):
    """A stretch of items to the lists that they are compared in."""

    def shared(self) -> Any:
        output = self._job.output
        return Measure.load(storage.join(output, "measure.npz")), Lists.load(storage.join(output, "lists.npz"))

    def work(self, unit: int) -> None:
        spread(self.layout, self.layout.stretches[unit], *self._shared)


class Join(Stage):
    """What shares a bucket to pairs."""

    def shared(self) -> Any:
        if self._job.found is not None or not looks_for(self.layout, "lists"):
            return (None,)
        return (Measure.load(storage.join(self._job.output, "measure.npz")).scoring,)

    def work(self, unit: tuple[str, int]) -> None:
        kind, number = unit
        if kind == "lists":
            join_lists(self.layout, number, self._shared[0])
        else:
            {"classes": join_classes, "hashes": join_hashes}[kind](self.layout, number)


class Recall(Stage):
    """The pairs of an earlier report to pairs of pictures that are still there, in four steps."""

    def work(self, unit: tuple[int, int]) -> None:
        step, number = unit
        (recall_low, recall_high, recall_first, recall_second)[step](self.layout, number)


class Merge(Stage):
    """All that was found of a pair to the tier that takes it."""

    def work(self, unit: int) -> None:
        merge(self.layout, found_urls(self.layout), unit)


class Connect(Stage):
    """One step of the rounds that connect components."""

    def work(self, unit: tuple[int, int]) -> None:
        connect(self.layout, *unit)


class Check(Stage):
    """The edges of a bucket to whether they are those of stars."""

    def work(self, unit: int) -> None:
        check(self.layout, unit)


class Label(Stage):
    """Edges of stars to components."""

    def work(self, unit: int) -> None:
        label(self.layout, unit)


class Gather(Stage):
    """A stretch's members and pairs to their components."""

    def work(self, unit: int) -> None:
        gather(self.layout, self.layout.stretches[unit])


class Group(Stage):
    """Components to groups."""

    def shared(self) -> Any:
        return reviewed_rows(self.layout), list(group_sizes(self.layout))

    def work(self, unit: int) -> None:
        group(self.layout, unit, *self._shared)


class Settle(Stage):
    """A stretch's items to the lines of the report."""

    def work(self, unit: int) -> None:
        settle(self.layout, self.layout.stretches[unit])


class Compose(Stage):
    """Members of groups to their order in the report."""

    def work(self, unit: int) -> None:
        compose(self.layout, unit)


class Finish(beam.DoFn):
    """Everything stored to a report."""

    def __init__(self, job: DedupeJob, pictures: int) -> None:
        self._job = job
        self._pictures = pictures

    def process(self, done: int) -> Iterator[str]:
        finish(Layout(self._job), Pictures(self._pictures, small_pictures))
        storage.delete_tree(storage.join(self._job.output, "work"))
        yield self._job.identity


def plan_stages(layout: Layout) -> list[tuple[str, Stage, Sequence[Any]]]:
    """The stages in their order, each with a name and its units; each is done before the next begins."""
    job = layout.job
    stretches, buckets = range(len(layout.stretches)), range(layout.buckets)
    units = {"classes": layout.buckets}
    if job.found is None:
        units |= {"hashes": layout.buckets, "lists": list_units(layout)}
    joins = [(kind, each) for kind, count in units.items() if looks_for(layout, kind) for each in range(count)]
    compares = job.found is None and looks_for(layout, "lists")
    verifies = job.found is None and job.settings.verify is not None
    looking: list[tuple[str, Stage, Sequence[Any]]] = [
        ("Verify", Verify(job), partitions_of(layout) if verifies else []),
        ("Describe", Describe(job), stretches),
        ("Count", Count(job), [0] if job.settings.group_column is not None else []),
        ("Train", Train(job), [0] if compares else []),
        ("Spread", Spread(job), stretches if compares else []),
        ("Join", Join(job), joins),
    ]
    if job.earlier is not None:
        before = range(len(Earlier.read(job.earlier).stretches))
        recalling = {"RecallLow": before, "RecallHigh": before, "RecallFirst": buckets, "RecallSecond": buckets}
        for step, (name, some) in enumerate(recalling.items()):
            looking.append((name, Recall(job), [(step, each) for each in some]))
    steps = [
        (f"Connect{step:02d}", Connect(job), [(step, bucket) for bucket in buckets])
        for step in range(2 * rounds(layout))
    ]
    judging: list[tuple[str, Stage, Sequence[Any]]] = [
        ("Merge", Merge(job), buckets),
        *steps,
        ("Check", Check(job), buckets if steps else []),
        ("Label", Label(job), buckets),
        ("Gather", Gather(job), stretches),
        ("Group", Group(job), buckets),
        ("Settle", Settle(job), stretches),
        ("Compose", Compose(job), buckets),
    ]
    return [(name, stage, list(each)) for name, stage, each in (*looking, *judging) if len(each)]


def build(
    pipeline: beam.Pipeline, layout: Layout, pictures: int = 0, hints: Mapping[str, str] | None = None
) -> beam.PCollection:
    """Adds the job to `pipeline`.

    Args:
        pipeline: to add to.
        layout: of the job.
        pictures: images to read for the gallery, at most.
        hints: resource hints of the steps, such as `min_ram`.

    Returns:
        The identity of the report, once it is complete.
    """

    def step(of: beam.DoFn) -> beam.ParDo:
        transform = beam.ParDo(of)
        return transform.with_resource_hints(**hints) if hints else transform

    before = pipeline | "Begin" >> beam.Create([0])
    for name, stage, units in plan_stages(layout):
        done = (
            before
            | f"{name}Units" >> beam.FlatMap(_Units(units))
            | f"Spread{name}" >> beam.Reshuffle()
            | f"Do{name}" >> step(stage)
        )
        # Not with what came before: an engine that keeps shuffles apart would have to run both sides at once.
        before = done | f"After{name}" >> beam.CombineGlobally(sum)
    return before | "Finish" >> step(Finish(layout.job, pictures))


class _Units:
    """The units of a stage, whatever came before."""

    def __init__(self, units: Sequence[Any]) -> None:
        self._units = list(units)

    def __call__(self, before: int) -> Iterable[Any]:
        return self._units
