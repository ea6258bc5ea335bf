"""The embed job: catalog rows to embedding files, rejects, commits and a snapshot.

Rows go to their partition, each partition through one fused DoFn, all results into one snapshot. The work itself is in
`pipelines.encode_partition` and in the rooms below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import apache_beam as beam
import pyarrow as pa

from catalog import storage
from catalog.embedding_store import StoreSettings, create_or_check, read_settings
from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError, ConflictError, IntegrityError, UsageError
from catalog.partition import check_partitions, default_partitions
from catalog.rows import RowReader, row_schema, split_by_partition
from catalog.run import PartitionResult, Run, RunPlan
from catalog.snapshot import Counts, Snapshot, latest_snapshot, read_snapshot, write_snapshot
from catalog.source import CatalogSource, open_catalog, read_rows
from encoders.decode import DecodeLimits
from encoders.registry import load_encoder
from pipelines.encode_partition import EncodeSettings, PartitionEncoder
from pipelines.progress import Progress, watched
from pipelines.runner import pipeline_options, run


@dataclass(frozen=True)
class EmbedConfig:
    """One embed job, validated where it is used.

    Attributes:
        source: the catalog.
        output: URL of the embedding store.
        encoder: encoder SPEC.
        partitions: number of partitions of a new store; None lets the number of rows decide.
        vector_type: of a new store: `float16` or `float32`; None means float16.
        limits: of the decoder.
        beam_arguments: flags for Beam.
    """

    source: CatalogSource
    output: str
    encoder: str
    partitions: int | None = None
    vector_type: str | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    beam_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbedSummary:
    """What an embed job did; the fields of its `--json` line. The counts are those of the run, earlier tries included;
    `seconds` and `images_per_second` are of this try."""

    rows: int
    embedded: int
    reused: int
    rejected: int
    rejects_by_reason: dict[str, int]
    removed: int
    snapshot: int
    fingerprint: str
    seconds: float
    images_per_second: float


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
    output = storage.check_writable(storage.absolute(config.output))
    pipeline = beam.Pipeline(options=pipeline_options(config.beam_arguments))  # Which validates them, before any work.
    catalog = open_catalog(config.source)
    say(f"catalog: {catalog.describe()}")
    encoder = load_encoder(config.encoder).info
    say(f"encoder: {encoder.name}, {encoder.dimension} dimensions, fingerprint {encoder.fingerprint[:12]}")
    try:
        settings = _store_settings(config, output, encoder, catalog.rows)
    except OSError as error:
        raise UsageError(f"--output {output} cannot be used: {error.strerror or error}") from None
    parent = latest_snapshot(output)
    _check_parent(parent, settings, catalog.rows, output)
    plan = RunPlan(
        catalog=catalog.identity(),
        fingerprint=encoder.fingerprint,
        vector_type=settings.vector_type,
        partitions=settings.partitions,
        parent=parent.sequence if parent else None,
        settings=asdict(config.limits),
    )
    the_run = Run(output, plan.run_id)
    the_run.begin(plan)
    before = the_run.embedded()
    work = EncodeSettings(
        store=output,
        run_id=plan.run_id,
        parent=plan.parent,
        encoder_spec=encoder.spec,
        fingerprint=encoder.fingerprint,
        vector_type=settings.vector_type,
        metadata=catalog.metadata.serialize().to_pybytes(),
        limits=config.limits,
    )
    say(f"embedding {catalog.rows:,} rows in {settings.partitions} partitions, run {plan.run_id}")
    encoding = time.monotonic()
    build(pipeline, list(catalog.readers), work, encoder, settings.partitions, catalog.rows)
    with watched(the_run.committed, settings.partitions, catalog.rows, report):
        run(pipeline)
    try:
        summary = the_run.read_summary()
    except FileNotFoundError:
        raise ConflictError(
            f"the same command ran twice at once on {output}; run it again to see the outcome"
        ) from None
    if not summary["changed"]:
        the_run.forget()
    counts = Counts(**summary["counts"])
    return EmbedSummary(
        **asdict(counts),
        snapshot=summary["snapshot"],
        fingerprint=encoder.fingerprint,
        seconds=round(time.monotonic() - started, 3),
        images_per_second=round((counts.embedded - before) / (time.monotonic() - encoding), 2),
    )


def _store_settings(config: EmbedConfig, output: str, encoder: EncoderInfo, rows: int) -> StoreSettings:
    """Creates the store or checks that it fits. Raises UsageError."""
    there = read_settings(output)
    if there is not None:
        for flag, wanted, found in (
            ("--partitions", config.partitions, there.partitions),
            ("--vector-type", config.vector_type, there.vector_type),
        ):
            if wanted is not None and wanted != found:
                raise UsageError(f"{flag} {wanted}: {output} was created with {found}; leave the flag out")
    partitions = default_partitions(rows) if config.partitions is None else check_partitions(config.partitions)
    settings = StoreSettings(partitions, config.vector_type or "float16", encoder.fingerprint, encoder.name)
    return create_or_check(output, settings)


def _check_parent(parent: Snapshot | None, settings: StoreSettings, rows: int, output: str) -> None:
    """Raises UsageError or IntegrityError when the run must not build on the newest snapshot."""
    if parent is None:
        return
    found = (parent.encoder.fingerprint, parent.vector_type, parent.partitions)
    if found != (settings.fingerprint, settings.vector_type, settings.partitions):
        raise IntegrityError(
            f"{output}/store.json does not belong to snapshot {parent.sequence}, which has vectors of encoder "
            f"{parent.encoder.name} (fingerprint {parent.encoder.fingerprint[:12]}); restore it, or give "
            "another --output"
        )
    if rows == 0 and parent.vectors:
        raise UsageError(
            f"the catalog has no rows, and {output} has {parent.vectors:,} items, which would all be removed; an empty "
            "export is refused: give another --output if it is meant"
        )


def build(
    pipeline: beam.Pipeline,
    readers: Sequence[RowReader],
    work: EncodeSettings,
    encoder: EncoderInfo,
    partitions: int,
    rows: int,
) -> None:
    """Adds the job to `pipeline`. Rows travel as packed Arrow blocks, so the shuffle sees few, large elements."""
    blocks = (
        pipeline
        | "Files" >> beam.Create(readers)
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadRows" >> beam.ParDo(ReadRows(partitions))
    )
    # A partition without rows still has stored items to remove.
    every = pipeline | "Partitions" >> beam.Create([(partition, b"") for partition in range(partitions)])
    (
        (blocks, every)
        | beam.Flatten()
        | "ToPartitions" >> beam.GroupByKey()
        | "EncodePartition" >> beam.ParDo(EncodePartition(work))
        | "Collect" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "Finish" >> beam.ParDo(FinishRun(work, encoder, partitions, rows))
    )


class ReadRows(beam.DoFn):
    """A catalog file to (partition, packed rows)."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def process(self, reader: RowReader) -> Iterator[tuple[int, bytes]]:
        for rows in read_rows(reader):
            for partition, part in split_by_partition(rows, self._partitions).items():
                yield partition, pa.concat_batches([part]).serialize().to_pybytes()


class EncodePartition(beam.DoFn):
    """(partition, packed rows) to the partition's result: fetch, decode, encode, write and commit, fused."""

    def __init__(self, work: EncodeSettings) -> None:
        self._work = work
        self._encoder: PartitionEncoder | None = None

    def setup(self) -> None:
        encoder = load_encoder(self._work.encoder_spec)
        if encoder.info.fingerprint != self._work.fingerprint:
            raise CatalogIndexerError(
                f"the encoder {self._work.encoder_spec} of this worker is not the launcher's (fingerprints "
                f"{encoder.info.fingerprint[:12]} and {self._work.fingerprint[:12]}); give all workers the same files"
            )
        parent = None if self._work.parent is None else read_snapshot(self._work.store, self._work.parent)
        self._encoder = PartitionEncoder(self._work, encoder, parent)
        self._schema = row_schema(self._work.metadata_schema)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[PartitionResult]:
        partition, packed = element
        batches = [pa.ipc.read_record_batch(pa.py_buffer(block), self._schema) for block in packed if block]
        assert self._encoder is not None
        yield self._encoder.encode(partition, batches)


class FinishRun(beam.DoFn):
    """All results to one snapshot, once the counts reconcile; and the run's summary for the launcher."""

    def __init__(self, work: EncodeSettings, encoder: EncoderInfo, partitions: int, rows: int) -> None:
        self._work = work
        self._encoder = encoder
        self._partitions = partitions
        self._rows = rows

    def process(self, results: list[PartitionResult]) -> None:
        results = sorted(results, key=lambda result: result.partition)
        snapshot = assemble_snapshot(results, self._work, self._encoder, self._partitions, self._rows)
        changed = any(result.changed for result in results) or self._work.parent is None
        if changed:
            write_snapshot(self._work.store, snapshot)
        Run(self._work.store, self._work.run_id).write_summary(
            {
                "changed": changed,
                "counts": asdict(snapshot.counts),
                "snapshot": snapshot.sequence if changed else self._work.parent,
            }
        )


def assemble_snapshot(
    results: Sequence[PartitionResult], work: EncodeSettings, encoder: EncoderInfo, partitions: int, rows: int
) -> Snapshot:
    """The snapshot of a finished run.

    Raises:
        CatalogIndexerError: a partition is missing, or a row ended in no place or in two.
    """
    if [result.partition for result in results] != list(range(partitions)):
        raise CatalogIndexerError(f"{len(results)} of {partitions} partitions reported; expected each once")
    counts = sum((result.counts for result in results), Counts(0, 0, 0, 0))
    ended = counts.embedded + counts.reused + counts.rejected
    snapshot = Snapshot(
        sequence=(work.parent or 0) + 1,
        parent=work.parent,
        run=work.run_id,
        encoder=encoder,
        vector_type=work.vector_type,
        partitions=partitions,
        counts=counts,
        files=tuple(entry for result in results for entry in result.files),
        rejects=tuple(result.rejects for result in results if result.rejects),
    )
    if not (rows == counts.rows == ended) or snapshot.vectors != counts.embedded + counts.reused:
        raise CatalogIndexerError(
            f"counts do not reconcile: the catalog has {rows} rows, {counts.rows} reached their partition, {ended} "
            f"ended (embedded {counts.embedded}, reused {counts.reused}, rejected {counts.rejected}), and the files "
            f"hold {snapshot.vectors} vectors; nothing was published"
        )
    return snapshot


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("embed"))
