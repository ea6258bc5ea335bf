"""The embed job: catalog rows to embedding files, rejects, commits and a snapshot.

What is decided before any work and said after it; the steps in between are in `pipelines.embed_steps`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import apache_beam as beam

from catalog import compaction, storage
from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError, ConflictError
from catalog.lineage import find_base, open_store
from catalog.partition_rows import Changes
from catalog.run import Run, RunPlan
from catalog.sealed import new_key
from catalog.snapshot import Counts, latest_snapshot
from catalog.source import Catalog, CatalogSource, open_catalog
from encoders.decode import DecodeLimits
from encoders.registry import load_encoder, precision_of, with_precision, without_precision
from pipelines.embed_steps import FinishSettings, build
from pipelines.encode_partition import EncodeSettings
from pipelines.engine_presets import Job
from pipelines.precision_cost import PrecisionCost, measure_precision
from pipelines.progress import Progress, watched
from pipelines.runner import check_hints, pipeline_options, run


@dataclass(frozen=True)
class EmbedConfig:
    """One embed job, validated where it is used.

    Attributes:
        source: the catalog.
        output: URL of the embedding store.
        encoder: encoder SPEC.
        precision: of the computation: `float32`, or `bfloat16` or `float16` where the machine has it.
        engine: what runs SavedModels, see `encoders.registry`.
        partitions: number of partitions of a new store; None lets the number of rows decide.
        vector_type: of a new store: `float16` or `float32`; None means float16.
        limits: of the decoder.
        changes: what tells that an image changed.
        compact_at: see `catalog.compaction`.
        may_lose: the share of the stored items that the run may lose and still publish.
        threads: that decode and encode in one process; None means two for each core.
        hints: Beam resource hints of the encode step.
        runs_on: the engine of `--engine`; None lets the runner in `beam_arguments` decide.
        beam_arguments: flags for Beam.
    """

    source: CatalogSource
    output: str
    encoder: str
    precision: str = "float32"
    engine: str = "auto"
    partitions: int | None = None
    vector_type: str | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    changes: Changes = Changes.STORE
    compact_at: float = compaction.DEFAULT_THRESHOLD
    may_lose: float = 0.5
    threads: int | None = None
    hints: dict[str, str] = field(default_factory=dict)
    runs_on: str | None = None
    beam_arguments: tuple[str, ...] = ()

    @property
    def asks(self) -> Job:
        """What the job asks of its engine."""
        places = [("--output", self.output), *(("--catalog", place) for place in self.source.catalogs)]
        if self.source.images_root:
            places.append(("--images-root", self.source.images_root))
        return Job(self.hints, places, self.encoder)


@dataclass(frozen=True)
class EmbedSummary:
    """What an embed job did; the fields of its `--json` line. The counts are those of the run, earlier tries included;
    `seconds` and `images_per_second` are of this try; `precision` is there when it was lower than float32."""

    rows: int
    embedded: int
    reused: int
    rejected: int
    rejects_by_reason: dict[str, int]
    removed: int
    stale: int
    snapshot: int
    lineage: int
    fingerprint: str
    seconds: float
    images_per_second: float
    cost: dict[str, float]
    precision: PrecisionCost | None = None


def embed(
    config: EmbedConfig,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> EmbedSummary:
    """Runs the job and waits for it.

    Args:
        config: the job.
        say: told one line at each step.
        report: told the progress while partitions are encoded.

    Raises:
        UsageError: something about the catalog, the store or the encoder is not right; nothing was written.
        CatalogIndexerError: counts do not reconcile, or another run was faster.
    """
    started = time.monotonic()
    pipeline, job = _planned(config, say)
    the_run = Run(job.work.store, job.work.run_id)
    before = the_run.embedded()
    encoding = time.monotonic()
    try:
        with watched(the_run.committed, job.finish.partitions, job.finish.rows, report):
            run(pipeline, say)
    except CatalogIndexerError:  # The same command would end the same, or begin with rows of its own.
        the_run.forget_rows()
        raise
    the_run.forget_rows()
    try:
        summary = the_run.read_summary()
    except FileNotFoundError:
        raise ConflictError(
            f"the same command ran twice at once on {job.work.store}; run it again to see the outcome"
        ) from None
    if not summary["changed"]:
        the_run.forget()
    counts = Counts(**summary["counts"])
    seconds = time.monotonic() - encoding
    precision = precision_of(job.encoder.spec)
    low = precision != "float32" and counts.embedded > 0
    return EmbedSummary(
        **asdict(counts),
        snapshot=summary["snapshot"],
        lineage=job.finish.lineage or summary["snapshot"],
        fingerprint=job.encoder.fingerprint,
        images_per_second=round((counts.embedded - before) / seconds, 2),
        cost=summary["cost"],
        precision=_price(job, summary["snapshot"], say) if low else None,
        seconds=round(time.monotonic() - started, 3),
    )


def submit(config: EmbedConfig, say: Callable[[str], None] = lambda line: None) -> None:
    """Hands the job to the runner and does not wait for it: its last step publishes the snapshot, and clears away a run
    in which nothing changed. What a lower precision cost is not measured. Raises as `embed` does before its work."""
    pipeline, _ = _planned(config, say, is_awaited=False)
    pipeline.run()


def _planned(
    config: EmbedConfig, say: Callable[[str], None], is_awaited: bool = True
) -> tuple[beam.Pipeline, EmbedJob]:
    """The job with its plan written, and its pipeline."""
    check_hints(config.hints)
    # Which validates Beam's flags, before any work.
    pipeline = beam.Pipeline(options=pipeline_options(config.beam_arguments, config.runs_on, config.asks, say))
    job = prepare(config, say)
    finish = replace(job.finish, is_awaited=is_awaited)
    build(pipeline, list(job.catalog.readers), job.work, finish, config.hints)
    return pipeline, job


@dataclass(frozen=True)
class EmbedJob:
    """A job that may begin: everything was looked at, the store and the plan are written."""

    catalog: Catalog
    encoder: EncoderInfo
    work: EncodeSettings
    finish: FinishSettings


def prepare(config: EmbedConfig, say: Callable[[str], None] = lambda line: None) -> EmbedJob:
    """Looks at the catalog, the encoder and the store, and writes the plan. Raises UsageError or IntegrityError."""
    output = storage.check_writable(storage.absolute(config.output))
    spec = with_precision(config.encoder, config.precision)
    catalog = open_catalog(config.source)
    say(f"catalog: {catalog.describe()}")
    encoder = load_encoder(spec, config.engine).info
    say(f"encoder: {encoder.name}, {encoder.dimension} dimensions, fingerprint {encoder.fingerprint[:12]}")
    settings = open_store(output, config.partitions, config.vector_type, catalog.rows)
    parent = latest_snapshot(output)
    if parent is not None:
        Run(output, parent.run).forget_rows()  # It may have been killed after it had published.
    base = find_base(output, parent, encoder, settings, catalog.rows, say)
    plan = RunPlan(
        catalog=catalog.identity(),
        fingerprint=encoder.fingerprint,
        vector_type=settings.vector_type,
        partitions=settings.partitions,
        parent=parent.sequence if parent else None,
        settings={**asdict(config.limits), "changes": config.changes.value, "compact_at": config.compact_at},
    )
    Run(output, plan.run_id).begin(plan, launch_of(config, encoder.spec))
    work = EncodeSettings(
        store=output,
        run_id=plan.run_id,
        base=base.sequence if base else None,
        encoder_spec=encoder.spec,
        engine=config.engine,
        fingerprint=encoder.fingerprint,
        vector_type=settings.vector_type,
        metadata=catalog.metadata.serialize().to_pybytes(),
        limits=config.limits,
        key=new_key(),
        changes=config.changes,
        compact_at=config.compact_at,
        threads=config.threads,
    )
    say(f"embedding {catalog.rows:,} rows in {settings.partitions} partitions, run {plan.run_id}")
    finish = FinishSettings(
        encoder, settings.partitions, catalog.rows, plan.parent, base.lineage if base else None, config.may_lose
    )
    return EmbedJob(catalog, encoder, work, finish)


def _price(job: EmbedJob, snapshot: int, say: Callable[[str], None]) -> PrecisionCost | None:
    """What the lower precision cost. The snapshot stands: a failure to measure is said and no more."""
    try:
        price = measure_precision(job.work.store, snapshot, without_precision(job.encoder.spec), job.work.limits)
    except (OSError, CatalogIndexerError) as error:
        say(f"the price of the lower precision was not measured: {error}")
        return None
    if price is None:
        say("the price of the lower precision was not measured: too few of the images could be read again")
    return price


def launch_of(config: EmbedConfig, encoder_spec: str) -> dict[str, Any]:
    """What was asked for, for `rejects --retry` from anywhere; no part of a run's id. Beam's flags are given anew each
    time, and what could be a secret in a URL is not written down."""
    source = {name: value for name, value in vars(config.source).items() if value}
    source["catalogs"] = [storage.absolute(place) for place in config.source.catalogs]
    source["image_roots"] = [storage.absolute(place) for place in config.source.image_roots]
    if config.source.images_root:
        source["images_root"] = storage.absolute(config.source.images_root)
    written = {name: _without_secrets(value) for name, value in source.items()}
    return {
        "source": written,
        "redacted": written != source,
        "encoder": encoder_spec,
        "engine": config.engine,
        "threads": config.threads,
        "hints": config.hints,
        "limits": asdict(config.limits),
        "changes": config.changes.value,
        "compact_at": config.compact_at,
    }


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return storage.redact_text(storage.redact(value)) if isinstance(value, str) else value


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("embed"))
