"""Vectors of any origin to an embedding store: files, rejects and a snapshot, in bounded memory.

Rows are read once, checked, and spilled to the local disk by partition; then each partition is sorted and written. What
is stored is named by content, and the snapshot is written last, so that a run that died is simply run again.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from catalog import canonical_json, storage
from catalog.embedding_store import StoreSettings
from catalog.encoder_info import IMPORTED, METRICS, EncoderInfo
from catalog.errors import CatalogIndexerError, ConflictError, IntegrityError, UsageError
from catalog.import_partition import ImportSettings, import_partition
from catalog.lineage import check_loss, find_base, open_store, settings_of
from catalog.partition import default_partitions
from catalog.run import Run, RunPlan
from catalog.snapshot import Counts, Snapshot, latest_snapshot, write_snapshot
from catalog.spill import Spill
from catalog.vector_rows import check_vectors, partitions_of_rows, row_batch, vector_row_schema
from catalog.vector_source import VectorInput, VectorSource, open_vector_source

_BYTES_BESIDE_THE_VECTOR = 64  # Of a row in the spill: a short id, its origin.
_SECONDS_BETWEEN_LINES = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class ImportConfig:
    """One import, validated where it is used.

    Attributes:
        source: the vectors.
        output: URL of the embedding store.
        metric: that the vectors are meant for.
        encoder_name: short and readable, of what made them.
        fingerprint: what is declared about what made them; None for the default of `fingerprint_of`.
        vector_type: of a new store: `float16` or `float32`; None means float16 where it holds all vectors.
        partitions: number of partitions of a new store; None lets the number of rows decide.
        may_lose: the share of the stored items that the run may lose and still publish.
    """

    source: VectorInput
    output: str
    metric: str
    encoder_name: str = "imported"
    fingerprint: str | None = None
    vector_type: str | None = None
    partitions: int | None = None
    may_lose: float = 0.5


@dataclass(frozen=True)
class ImportSummary:
    """What an import did; the fields of its `--json` line. `embedded` rows are new or changed, `reused` ones are stored
    already."""

    rows: int
    embedded: int
    reused: int
    rejected: int
    rejects_by_reason: dict[str, int]
    removed: int
    snapshot: int
    lineage: int
    fingerprint: str
    dimension: int
    vector_type: str
    normalized: bool
    seconds: float


def fingerprint_of(declared: str | None, name: str, dimension: int, metric: str) -> str:
    """The fingerprint of imported vectors: a hash of what was declared about them and of their dimension; without a
    declaration, of name, dimension and metric. Never that of an encoder."""
    said = {"name": name, "metric": metric} if declared is None else {"declared": declared}
    return canonical_json.digest({"kind": IMPORTED, "dimension": dimension, **said})


def import_vectors(config: ImportConfig, say: Say = lambda line: None) -> ImportSummary:
    """Runs the import.

    Args:
        config: the import.
        say: told one line at each step.

    Raises:
        UsageError: something about the input or the store is not right; nothing was written.
        CatalogIndexerError: counts do not reconcile, too much would be lost, or another run was faster; nothing was
            published.
    """
    started = time.monotonic()
    if config.metric not in METRICS:
        raise UsageError(f"--metric {config.metric} is unknown; expected one of {', '.join(METRICS)}")
    output = storage.check_writable(storage.absolute(config.output))
    source = open_vector_source(config.source)
    say(f"input: {source.describe()}")
    fingerprint = fingerprint_of(config.fingerprint, config.encoder_name, source.dimension, config.metric)
    encoder = EncoderInfo(
        config.encoder_name,
        IMPORTED,
        source.dimension,
        (0, 0),
        config.metric,
        normalized=False,
        fingerprint=fingerprint,
    )
    # All that can be refused is, before the vectors are read.
    there = settings_of(output, config.partitions, config.vector_type)
    parent = latest_snapshot(output)
    if parent is not None and there is None:
        raise IntegrityError(f"{output}/store.json is missing; restore it, or give another --output")
    base = find_base(output, parent, encoder, there, source.rows, say, "input") if there else None
    known = there.vector_type if there else config.vector_type
    partitions = there.partitions if there else config.partitions or default_partitions(source.rows)
    with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
        _check_disk(scratch, source, known)
        path = Path(scratch) / "rows.arrow"
        spill = Spill(path, vector_row_schema(source.dimension, known or "float32", source.metadata), partitions)
        try:
            found = _read(source, spill, config.metric, known or "float32", say)
            settings = open_store(output, partitions, known or found.vector_type, source.rows)
            if there is None and settings != StoreSettings(partitions, known or found.vector_type):
                raise ConflictError(f"another run created {output} in the meantime; run again to build on it")
            encoder = replace(encoder, normalized=found.unit_length)
            snapshot = _publish(config, source, spill, settings, encoder, parent, base, say)
        finally:
            spill.close()
    counts = snapshot.counts
    return ImportSummary(
        rows=counts.rows,
        embedded=counts.embedded,
        reused=counts.reused,
        rejected=counts.rejected,
        rejects_by_reason=counts.rejects_by_reason,
        removed=counts.removed,
        snapshot=snapshot.sequence,
        lineage=snapshot.lineage,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        vector_type=settings.vector_type,
        normalized=encoder.normalized,
        seconds=round(time.monotonic() - started, 3),
    )


@dataclass(frozen=True)
class _Found:
    """What reading showed of the vectors: the smallest type that holds them, and whether they have unit length."""

    vector_type: str
    unit_length: bool


def _read(source: VectorSource, spill: Spill, metric: str, vector_type: str, say: Say) -> _Found:
    """All rows into the spill, their vectors as `vector_type`."""
    schema, labels = vector_row_schema(source.dimension, vector_type, source.metadata), source.labels
    fits, unit, usable = True, True, False
    told = time.monotonic()
    for file, block in source.blocks():
        checked = check_vectors(block.vectors, block.missing, metric, vector_type)
        fits, unit = fits and checked.fits_float16, unit and checked.unit_length
        usable = usable or None in checked.problems
        batch = row_batch(block, checked, file, schema)
        spill.add(batch, partitions_of_rows(batch, labels, spill.partitions))
        if time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            say(f"read {spill.rows:,} of {source.rows:,} rows")
    spill.finish()
    if spill.rows != source.rows:
        raise CatalogIndexerError(
            f"the input had {source.rows:,} rows when it was looked at and {spill.rows:,} when it was read; nothing "
            "was written. If a file was replaced meanwhile, run it again"
        )
    return _Found("float16" if fits else "float32", unit and usable)


def _publish(
    config: ImportConfig,
    source: VectorSource,
    spill: Spill,
    settings: StoreSettings,
    encoder: EncoderInfo,
    parent: Snapshot | None,
    base: Snapshot | None,
    say: Say,
) -> Snapshot:
    """Every partition, then the snapshot. Where nothing changed, that of before with the counts of this run."""
    store = storage.absolute(config.output)
    plan = RunPlan(
        catalog=canonical_json.dump(source.identity()).decode(),
        fingerprint=encoder.fingerprint,
        vector_type=settings.vector_type,
        partitions=settings.partitions,
        parent=parent.sequence if parent else None,
        settings={"encoder": encoder.to_json()},
    )
    run = Run(store, plan.run_id)
    run.begin(plan, _launch_of(config))
    say(f"importing {source.rows:,} rows into {settings.partitions} partitions of {settings.vector_type}")
    work = ImportSettings(
        store, run, base, encoder.fingerprint, encoder.dimension, settings.vector_type, source.metadata, source.labels
    )
    results = [import_partition(number, spill.partition(number), work) for number in range(settings.partitions)]
    counts = sum((result.counts for result in results), Counts(0, 0, 0, 0))
    sequence = (parent.sequence if parent else 0) + 1
    snapshot = Snapshot(
        sequence=sequence,
        parent=parent.sequence if parent else None,
        lineage=base.lineage if base else sequence,
        run=plan.run_id,
        encoder=encoder,
        vector_type=settings.vector_type,
        partitions=settings.partitions,
        counts=counts,
        files=tuple(entry for result in results for entry in result.files),
        rejects=tuple(result.rejects for result in results if result.rejects),
    )
    ended = counts.embedded + counts.reused + counts.rejected
    if not (source.rows == counts.rows == ended) or snapshot.vectors != counts.embedded + counts.reused:
        raise CatalogIndexerError(
            f"counts do not reconcile: the input has {source.rows} rows, {ended} ended (embedded {counts.embedded}, "
            f"reused {counts.reused}, rejected {counts.rejected}), and the files hold {snapshot.vectors} vectors; "
            "nothing was published"
        )
    unchanged = base == parent and base is not None and base.encoder == encoder
    if base is not None and unchanged and not any(result.changed for result in results):
        run.forget()
        return replace(base, counts=counts)
    try:
        check_loss(parent, snapshot, config.may_lose, "input")
    except CatalogIndexerError:
        run.forget()
        raise
    write_snapshot(store, snapshot)
    return snapshot


def _launch_of(config: ImportConfig) -> dict[str, Any]:
    """What was asked for, for people: without secrets, and no part of the run's id."""
    source = {**asdict(config.source), "inputs": [storage.absolute(place) for place in config.source.inputs]}
    shown = {
        name: [storage.redact(place) for place in value]
        if isinstance(value, list)
        else storage.redact(value)
        if value
        else None
        for name, value in source.items()
    }
    return {"command": "import-vectors", "source": shown, "declared": config.fingerprint}


def _check_disk(scratch: str, source: VectorSource, vector_type: str | None) -> None:
    width = 2 if vector_type == "float16" else 4
    needed = source.rows * (source.dimension * width + _BYTES_BESIDE_THE_VECTOR)
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise UsageError(
            f"the scratch folder {Path(scratch).parent} has {free / 1e9:.1f} GB free and the rows need "
            f"{needed / 1e9:.1f} GB; name a larger one with the environment variable TMPDIR"
        )
