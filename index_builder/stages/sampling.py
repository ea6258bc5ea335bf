"""Sampling: a partition to the rows of it that ask and that are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import canonical_json, storage
from catalog.errors import UsageError
from catalog.id_slices import in_pieces
from catalog.snapshot import Snapshot
from index_builder.assembly.snapshot_vectors import BLOCK_ROWS, partition_tables, partition_vectors, row_offsets
from index_builder.training.sample import MOST_ASKING, Shares, draw, merge_drawn, write_sample
from index_builder.version_job import VersionJob
from index_builder.work import WorkFolder, sampled_partitions


def count_strata(job: VersionJob, snapshot: Snapshot, partition: int) -> None:
    """Stores how many rows of a partition have each value of the column to stratify by, and which columns there are."""
    url = WorkFolder(job).strata(partition)
    if not storage.exists(url):
        counts: Counter[str] = Counter()
        columns: list[str] = []
        for table in partition_tables(job.store, snapshot, partition, ["metadata"]):
            columns, values = _values(job, table)
            counts.update(values)
        storage.write(url, canonical_json.dump({"columns": columns, "counts": dict(sorted(counts.items()))}))


def total_strata(job: VersionJob, snapshot: Snapshot) -> dict[str, int]:
    """Rows of each value in all partitions. Raises UsageError where none of them has the column."""
    total: Counter[str] = Counter()
    columns: set[str] = set()
    for partition in range(snapshot.partitions):
        url = WorkFolder(job).strata(partition)
        found = canonical_json.load(storage.read_bytes(url), url)
        total.update(found["counts"])
        columns.update(found["columns"])
    if job.stratify not in columns:
        there = f"its columns are: {', '.join(sorted(columns))}" if columns else "it has none"
        raise UsageError(f"--stratify {job.stratify}: the metadata of {job.store} has no such column; {there}")
    return dict(total)


def _values(job: VersionJob, table: pa.Table) -> tuple[list[str], list[str]]:
    """The metadata columns of rows of a partition, and the values of the one to stratify by as text, in row order."""
    kind = table.schema.field("metadata").type if "metadata" in table.column_names else pa.struct([])
    names = [kind.field(place).name for place in range(kind.num_fields)]
    if job.stratify not in names:
        return names, [str(None)] * len(table)
    column = pc.struct_field(table["metadata"], job.stratify)
    return names, [str(value) for value in column.to_pylist()]


def _said(job: VersionJob, snapshot: Snapshot, partition: int) -> Iterator[pa.Table]:
    """The ids of a partition, and the values to stratify by where it is stratified, in row order."""
    for table in partition_tables(job.store, snapshot, partition, ["metadata"] if job.stratify else []):
        ids = table.select(["item_id"])
        yield ids.append_column("value", pa.array(_values(job, table)[1], pa.string())) if job.stratify else ids


def sample_partition(
    job: VersionJob, snapshot: Snapshot, partition: int, rows: int, strata: Mapping[str, int] | None = None
) -> None:
    """Draws a partition's rows and stores them.

    Args:
        job: of which version.
        snapshot: the vectors.
        partition: which.
        rows: of all sampled partitions together, from `sampled_rows`.
        strata: from `total_strata`, where the job stratifies.
    """
    folder = WorkFolder(job)
    if storage.exists(folder.sample(partition)):
        return
    offsets = row_offsets(snapshot)
    shares = Shares.of(queries_asked(job, snapshot), job.plan.training_rows, rows, strata)
    first, parts = int(offsets[partition]), []
    said = in_pieces(_said(job, snapshot, partition), BLOCK_ROWS)
    for rows_said, vectors in zip(said, partition_vectors(job.store, snapshot, partition), strict=True):
        ids = rows_said["item_id"].to_pylist()
        values = rows_said["value"].to_pylist() if job.stratify else None
        parts.append(draw(ids, vectors, first, job.plan.seed, shares, values))
        first += len(ids)
    drawn = merge_drawn(parts, shares, snapshot.encoder.dimension)
    write_sample(folder.sample(partition) + ".queries", drawn.queries)
    write_sample(folder.sample(partition), drawn.training, drawn.digests)


def sampled_rows(job: VersionJob, snapshot: Snapshot) -> int:
    """Rows in all partitions that are sampled."""
    return int(np.diff(row_offsets(snapshot))[sampled_partitions(snapshot, job)].sum())


def queries_asked(job: VersionJob, snapshot: Snapshot) -> int:
    """How many queries the evaluation asks at most: for a Flat index, for which nothing is trained, all rows may."""
    share = 1.0 if job.plan.family == "flat" else MOST_ASKING
    return min(job.queries, max(1, int(share * snapshot.vectors)))


def asking_share(job: VersionJob, snapshot: Snapshot) -> float:
    """The share of the sampled rows, by their hashes, that ask."""
    return Shares.of(queries_asked(job, snapshot), 0, sampled_rows(job, snapshot)).queries
