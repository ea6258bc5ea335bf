"""The dedupe job: snapshots to a report of the duplicates in them.

Items are described, a measure is trained, pictures are compared bucket by bucket, pairs are judged and connected, and
every item is settled. Each stage is a plain function of `dedupe.stages`; what a unit of it stores is named by what it
is of, so a job that was killed finds it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam

from catalog import canonical_json, storage
from catalog.errors import UsageError
from catalog.snapshot import Snapshot, latest_snapshot, read_snapshot
from dedupe.calibration import read_calibration
from dedupe.earlier import Earlier
from dedupe.found import check_found, read_found
from dedupe.job import DedupeJob, Layout, Source
from dedupe.metadata_columns import metadata_columns, to_text
from dedupe.settings import Settings
from pipelines.dedupe_steps import build
from pipelines.engine_presets import Job
from pipelines.runner import check_hints, pipeline_options, run


@dataclass(frozen=True)
class DedupeConfig:
    """One dedupe job.

    Attributes:
        embeddings: URLs of embedding stores by the name of their dataset; of a single one the name may be empty.
        output: URL of the report.
        settings: what counts as a duplicate.
        snapshot: of the only store; None means the newest.
        calibration: URL of what `dedupe calibrate` wrote, whose measure is used; None to train one.
        since: URL of an earlier report: only what is new since then is compared; None for everything.
        pictures: images to read for the gallery, at most.
        stretch_rows, bucket_rows: see `dedupe.job.DedupeJob`.
        runs_on: the engine of `--engine`; None lets the runner in `beam_arguments` decide.
        hints: Beam resource hints of the steps.
        beam_arguments: flags for Beam.
    """

    embeddings: Mapping[str, str]
    output: str
    settings: Settings = field(default_factory=Settings)
    snapshot: int | None = None
    calibration: str | None = None
    since: str | None = None
    pictures: int = 1_000
    stretch_rows: int = 1 << 18
    bucket_rows: int = 1 << 20
    runs_on: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    beam_arguments: tuple[str, ...] = ()

    @property
    def asks(self) -> Job:
        """What the job asks of its engine."""
        return Job(
            self.hints, [("--embeddings", url) for url in self.embeddings.values()] + [("--output", self.output)]
        )


@dataclass(frozen=True)
class RethresholdConfig:
    """One job that judges pairs anew.

    Attributes:
        report: URL of the report whose pairs they are.
        output: URL of the new report.
        changed: the settings that differ from those of the report, by name.
        pictures, runs_on, hints, beam_arguments: see `DedupeConfig`.
    """

    report: str
    output: str
    changed: Mapping[str, Any] = field(default_factory=dict)
    pictures: int = 1_000
    runs_on: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    beam_arguments: tuple[str, ...] = ()

    @property
    def asks(self) -> Job:
        """What the job asks of its engine."""
        return Job(self.hints, [("--report", self.report), ("--output", self.output)])


def dedupe(config: DedupeConfig, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Runs the job and waits for it. A report that is complete already is only read.

    Returns:
        The summary, as in `summary.json`, and `seconds`.

    Raises:
        UsageError: no embeddings, datasets of different encoders, a column that is not there, or another report there.
    """
    return _made(plan(config), config, say)


def rethreshold(config: RethresholdConfig, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Judges the pairs that a report found by other settings, and waits for the new report. Reads no vector.

    Returns:
        The summary, as `dedupe` does: that of a new job with those settings.

    Raises:
        UsageError: the report is not complete, its pairs or snapshots are gone, or the settings are looser than those
            that the pairs were looked for with.
    """
    return _made(plan_again(config), config, say)


def _made(layout: Layout, config: DedupeConfig | RethresholdConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Runs a job that was planned; returns its summary and `seconds`."""
    started = time.monotonic()
    check_hints(config.hints)
    pipeline = beam.Pipeline(options=pipeline_options(config.beam_arguments, config.runs_on, config.asks, say))
    job = layout.job
    if (there := read_summary(job.output)) is not None:
        if there["identity"] != job.identity:
            raise UsageError(
                f"{storage.redact(job.output)} holds the report of another run; name a new folder with --output, or "
                "delete it"
            )
        say("the report is complete already")
    else:
        doing = "comparing" if job.found is None else "judging the pairs of"
        say(f"{doing} {layout.rows:,} items of {', '.join(told(source) for source in job.sources)}")
        build(pipeline, layout, config.pictures, config.hints)
        run(pipeline, say)
    summary = read_summary(job.output)
    assert summary is not None
    return {**summary, "seconds": round(time.monotonic() - started, 3)}


def plan(config: DedupeConfig) -> Layout:
    """Looks at the stores and plans the job. Raises UsageError as `dedupe` does before its work."""
    output = storage.check_writable(storage.absolute(config.output))
    snapshots: list[Snapshot] = []
    sources: list[Source] = []
    for name, url in config.embeddings.items():
        store = storage.absolute(url)
        snapshot = latest_snapshot(store) if config.snapshot is None else read_snapshot(store, config.snapshot)
        if snapshot is None:
            raise UsageError(f"{storage.redact(store)} has no snapshot; run catalog-indexer embed first")
        if storage.join(store, "").rstrip("/") == output.rstrip("/"):
            raise UsageError(f"--output {storage.redact(output)} is an embedding store; name a folder of its own")
        snapshots.append(snapshot)
        sources.append(Source(name, store, snapshot.sequence))
    if len({snapshot.encoder.fingerprint for snapshot in snapshots}) > 1:
        named = ", ".join(
            f"{source.name}: {each.encoder.name}" for source, each in zip(sources, snapshots, strict=True)
        )
        raise UsageError(f"--datasets: their vectors are of different encoders ({named}); embed all with the same one")
    if config.calibration is not None:
        calibrated = read_calibration(storage.absolute(config.calibration))
        if calibrated.fingerprint != snapshots[0].encoder.fingerprint:
            raise UsageError(
                f"--calibration {storage.redact(config.calibration)} was made of the vectors of another encoder; "
                "calibrate anew"
            )
    if not any(snapshot.vectors for snapshot in snapshots):
        raise UsageError(
            f"snapshot {snapshots[0].sequence} of {sources[0].store} has no items; there is nothing to compare"
        )
    calibration = None if config.calibration is None else storage.absolute(config.calibration)
    since = None if config.since is None else storage.absolute(config.since)
    if since is not None:
        objection = Earlier.read(since).objection(sources, snapshots, config.settings, calibration)
        if objection is not None:
            raise UsageError(f"--since {storage.redact(since)}: {objection}; ask for the same, or leave out --since")
    job = DedupeJob(
        output=output,
        sources=tuple(sources),
        columns=_columns(config.settings, sources, snapshots),
        settings=config.settings,
        stretch_rows=config.stretch_rows,
        bucket_rows=config.bucket_rows,
        measure=calibration,
        earlier=since,
    )
    return Layout(job, snapshots)


def _columns(settings: Settings, sources: Sequence[Source], snapshots: Sequence[Snapshot]) -> str:
    stores = [(source.store, snapshot) for source, snapshot in zip(sources, snapshots, strict=True)]
    return to_text(metadata_columns(settings, stores))


def plan_again(config: RethresholdConfig) -> Layout:
    """Looks at the report and plans the job. Raises UsageError as `rethreshold` does before its work."""
    report = storage.absolute(config.report)
    output = storage.check_writable(storage.absolute(config.output))
    if output.rstrip("/") == report.rstrip("/"):
        raise UsageError(f"--output {storage.redact(output)} is the report itself; name a new folder")
    summary = read_summary(report)
    if summary is None:
        raise UsageError(
            f"--report {storage.redact(report)} has no summary.json; run catalog-indexer dedupe until it is complete"
        )
    made_with = canonical_json.shaped(summary, storage.join(report, "summary.json"), _settings_of)
    found = read_found(report)
    settings = replace(made_with, **config.changed)
    # The bounds are those of the search, which this report may have been made stricter than.
    found.settings.raised(settings.threshold, settings.thumbnail_threshold, settings.phash_radius)
    if found.measure is not None:
        read_calibration(found.measure)
    job = DedupeJob(
        output=output,
        sources=found.sources,
        settings=settings,
        stretch_rows=found.stretch_rows,
        bucket_rows=found.bucket_rows,
        measure=found.measure,
        found=found.pairs,
        columns=_columns(
            settings, found.sources, [read_snapshot(source.store, source.sequence) for source in found.sources]
        ),
    )
    layout = Layout(job)
    check_found(layout, found)
    return layout


def _settings_of(summary: Mapping[str, Any]) -> Settings:
    return Settings.from_json(summary["settings"])


def read_summary(output: str) -> dict[str, Any] | None:
    """The summary of a report; None where it is not complete."""
    url = storage.join(output, "summary.json")
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    return canonical_json.load(data, url)


def told(source: Source) -> str:
    """A snapshot in words."""
    name = f"{source.name}: " if source.name else ""
    return f"{name}snapshot {source.sequence} of {storage.redact(source.store)}"


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("dedupe"))
