"""The steps of the embed job: rows to their partition, each partition through one fused DoFn, all results into one
snapshot. The work itself is in `pipelines.encode_partition` and in the rooms below.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError
from catalog.lineage import check_loss
from catalog.row_files import Chunks, rows_a_chunk, store_rows
from catalog.rows import RowReader, row_schema, split_by_partition
from catalog.run import PartitionResult, Run
from catalog.snapshot import Counts, Snapshot, read_snapshot, write_snapshot
from catalog.source import read_rows
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.registry import load_encoder
from pipelines.encode_partition import EncodeSettings, PartitionEncoder

_PARTITIONS_AT_ONCE = 2


def build(
    pipeline: beam.Pipeline,
    readers: Sequence[RowReader],
    work: EncodeSettings,
    finish: FinishSettings,
    hints: Mapping[str, str] | None = None,
) -> None:
    """Adds the job to `pipeline`. Rows travel as packed Arrow blocks, so the shuffle sees few, large elements; what is
    grouped by partition are names of files, for an engine may hold all values of a key in memory.

    Args:
        hints: resource hints of the encode step alone, such as `accelerator`.
    """
    partitions = finish.partitions
    names = (
        pipeline
        | "Files" >> beam.Create(readers)
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadRows" >> beam.ParDo(ReadRows(partitions, len(readers)))
        | "ToChunks" >> beam.GroupByKey()
        | "StoreRows" >> beam.ParDo(StoreRows(work))
    )
    # A partition without rows still has stored items to remove.
    every = pipeline | "Partitions" >> beam.Create([(partition, "") for partition in range(partitions)])
    encode = beam.ParDo(EncodePartition(work))
    if hints:
        encode = encode.with_resource_hints(**hints)
    (
        (names, every)
        | beam.Flatten()
        | "ToPartitions" >> beam.GroupByKey()
        # By hash, an engine may have given a worker half as many partitions again as another.
        | "SpreadPartitions" >> beam.Reshuffle()
        | "EncodePartition" >> encode
        | "Collect" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "Finish" >> beam.ParDo(FinishRun(work, finish))
    )


class ReadRows(beam.DoFn):
    """A catalog file to ((partition, chunk), packed rows)."""

    def __init__(self, partitions: int, readers: int) -> None:
        self._partitions = partitions
        self._readers = readers

    def process(self, reader: RowReader) -> Iterator[tuple[tuple[int, int], bytes]]:
        chunks = Chunks(rows_a_chunk(reader.rows, self._partitions, self._readers))
        for rows in read_rows(reader):
            for partition, part in split_by_partition(rows, self._partitions).items():
                for chunk, dealt in chunks.deal(partition, part):
                    yield (partition, chunk), pa.concat_batches([dealt]).serialize().to_pybytes()


class StoreRows(beam.DoFn):
    """((partition, chunk), packed rows) to (partition, name of a file of these rows, sorted)."""

    def __init__(self, work: EncodeSettings) -> None:
        self._work = work

    def process(self, element: tuple[tuple[int, int], Iterable[bytes]]) -> Iterator[tuple[int, str]]:
        (partition, _), packed = element
        schema = row_schema(self._work.metadata_schema)
        blocks = (pa.ipc.read_record_batch(pa.py_buffer(block), schema) for block in packed)
        folder = Run(self._work.store, self._work.run_id).rows_folder(partition)
        for name in store_rows(folder, blocks, self._work.key):
            yield partition, name


class EncodePartition(beam.DoFn):
    """(partition, names of row files) to the partition's result: fetch, decode, encode, write and commit, fused.

    Two partitions are under way at once, so that the cores are busy with one while the other's last images come in and
    its file is written.
    """

    def __init__(self, work: EncodeSettings) -> None:
        self._work = work
        self._encoder: PartitionEncoder | None = None
        self._under_way: deque[Future[PartitionResult]] = deque()

    def setup(self) -> None:
        encoder = load_encoder(self._work.encoder_spec, self._work.engine)
        if encoder.info.fingerprint != self._work.fingerprint:
            raise CatalogIndexerError(
                f"the encoder {self._work.encoder_spec} of this worker is not the launcher's (fingerprints "
                f"{encoder.info.fingerprint[:12]} and {self._work.fingerprint[:12]}); give all workers the same files"
            )
        base = None if self._work.base is None else read_snapshot(self._work.store, self._work.base)
        images = image_encoder(self._work.encoder_spec, self._work.engine, self._work.limits, self._work.threads)
        self._encoder = PartitionEncoder(self._work, images, base)
        self._pool = ThreadPoolExecutor(_PARTITIONS_AT_ONCE, thread_name_prefix="partition")

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[PartitionResult]:
        partition, names = element
        assert self._encoder is not None
        self._under_way.append(self._pool.submit(self._encoder.encode, partition, [name for name in names if name]))
        while len(self._under_way) >= _PARTITIONS_AT_ONCE:
            yield self._finished()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._under_way:
            yield WindowedValue(self._finished(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def teardown(self) -> None:
        if self._encoder is not None:
            self._encoder.stop()
        self._pool.shutdown(cancel_futures=True)

    def _finished(self) -> PartitionResult:
        try:
            result = self._under_way.popleft().result()
        except BaseException:
            self._under_way.clear()  # The bundle fails; what the others have committed is found by the next try.
            assert self._encoder is not None
            self._encoder.stop()
            raise
        count(result)
        return result


_image_encoders: dict[tuple[str, str, DecodeLimits, int | None], ImageEncoder] = {}
_making = threading.Lock()


def image_encoder(spec: str, engine: str, limits: DecodeLimits, threads: int | None) -> ImageEncoder:
    """One set of threads a process, however many workers of the runner share it."""
    key = (spec, engine, limits, threads)
    with _making:
        if key not in _image_encoders:
            _image_encoders[key] = ImageEncoder(load_encoder(spec, engine), limits, threads)
        return _image_encoders[key]


def count(result: PartitionResult) -> None:
    """Tells Beam's metrics of a finished partition: counters, and distributions over partitions."""
    counts = result.counts
    for name in ("rows", "embedded", "reused", "rejected", "removed", "stale"):
        Metrics.counter("embed", name).inc(getattr(counts, name))
    for reason, rejected in counts.rejects_by_reason.items():
        Metrics.counter("embed", f"rejected_{reason}").inc(rejected)
    for name, value in result.cost.items():
        if name.endswith("_seconds"):
            milliseconds = name.removesuffix("seconds") + "milliseconds"
            Metrics.distribution("embed", milliseconds).update(round(value * 1000))
        else:
            Metrics.counter("embed", name).inc(int(value))
            Metrics.distribution("embed", f"{name}_a_partition").update(int(value))


@dataclass(frozen=True)
class FinishSettings:
    """What the last step must know beside the work.

    Attributes:
        encoder: whose vectors the snapshot has.
        partitions: of the store.
        rows: of the catalog.
        parent: the snapshot that the new one follows; None for the first.
        lineage: number of the first snapshot of this encoder's; None when that is the new one.
        may_lose: the share of the stored items that the run may lose and still publish.
        is_awaited: whether the launcher waits, reads the run's summary and clears away a run that changed nothing.
    """

    encoder: EncoderInfo
    partitions: int
    rows: int
    parent: int | None
    lineage: int | None
    may_lose: float = 1.0
    is_awaited: bool = True


class FinishRun(beam.DoFn):
    """All results to one snapshot, once the counts reconcile; and the run's summary for the launcher."""

    def __init__(self, work: EncodeSettings, finish: FinishSettings) -> None:
        self._work = work
        self._finish = finish

    def process(self, results: list[PartitionResult]) -> None:
        run = Run(self._work.store, self._work.run_id)
        try:
            self._publish(run, sorted(results, key=lambda result: result.partition))
        except CatalogIndexerError:
            self._end(run)
            raise
        self._end(run)  # Not after another error: the step is tried again, and perhaps the partitions before it.

    def _end(self, run: Run) -> None:
        """Removes the rows on their way where nobody waits for the job. Else the launcher does: an engine that loses a
        worker in the middle of this step may have to do partitions again, which need their rows."""
        if not self._finish.is_awaited:
            run.forget_rows()

    def _publish(self, run: Run, results: Sequence[PartitionResult]) -> None:
        snapshot = assemble_snapshot(results, self._work, self._finish)
        # Without a change the parent stands, unless that is of another encoder.
        changed = any(result.changed for result in results) or self._work.base is None
        changed = changed or self._work.base != self._finish.parent
        if changed:
            self._check_loss(snapshot)
            write_snapshot(self._work.store, snapshot)
        if not (changed or self._finish.is_awaited):
            run.forget()
            return
        run.write_summary(
            {
                "changed": changed,
                "counts": asdict(snapshot.counts),
                "snapshot": snapshot.sequence if changed else self._finish.parent,
                "cost": snapshot.cost,
            }
        )

    def _check_loss(self, snapshot: Snapshot) -> None:
        """Raises CatalogIndexerError, the run being forgotten, when more items would go than may."""
        work, parent = self._work, self._finish.parent
        before = None if parent is None else read_snapshot(work.store, parent)  # Also where a lineage starts.
        try:
            check_loss(before, snapshot, self._finish.may_lose)
        except CatalogIndexerError:
            Run(work.store, work.run_id).forget()
            raise


def assemble_snapshot(results: Sequence[PartitionResult], work: EncodeSettings, finish: FinishSettings) -> Snapshot:
    """The snapshot of a finished run.

    Raises:
        CatalogIndexerError: a partition is missing, or a row ended in no place or in two.
    """
    if [result.partition for result in results] != list(range(finish.partitions)):
        raise CatalogIndexerError(f"{len(results)} of {finish.partitions} partitions reported; expected each once")
    counts = sum((result.counts for result in results), Counts(0, 0, 0, 0))
    ended = counts.embedded + counts.reused + counts.rejected
    sequence = (finish.parent or 0) + 1
    snapshot = Snapshot(
        sequence=sequence,
        parent=finish.parent,
        lineage=finish.lineage or sequence,
        run=work.run_id,
        encoder=finish.encoder,
        vector_type=work.vector_type,
        partitions=finish.partitions,
        counts=counts,
        files=tuple(entry for result in results for entry in result.files),
        rejects=tuple(result.rejects for result in results if result.rejects),
        cost=total_cost([result.cost for result in results if result.changed]),
    )
    if not (finish.rows == counts.rows == ended) or snapshot.vectors != counts.embedded + counts.reused:
        raise CatalogIndexerError(
            f"counts do not reconcile: the catalog has {finish.rows} rows, {counts.rows} reached their partition, "
            f"{ended} ended (embedded {counts.embedded}, reused {counts.reused}, rejected {counts.rejected}), and the "
            f"files hold {snapshot.vectors} vectors; nothing was published. If a catalog file was "
            "replaced while the job ran, run it again"
        )
    return snapshot


def total_cost(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Sums by name."""
    names = sorted({name for cost in costs for name in cost})
    return {name: round(sum(cost.get(name, 0) for cost in costs), 3) for name in names}
