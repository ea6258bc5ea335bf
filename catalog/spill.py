"""Rows in any order to rows by partition, through one file on the local disk, in bounded memory.

Rows are kept until there are so many bytes of them, sorted by partition and written as one batch of an Arrow file; a
partition is then a slice of each batch, read where it lies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

_BUFFER_BYTES = 32 << 20  # Held three times while it is sorted.


class Spill:
    """Takes rows, then gives them by partition. Close it before its file is removed.

    Args:
        path: of the scratch file.
        schema: of the rows.
        partitions: how many.
        buffer_bytes: kept in memory before they are written.
    """

    def __init__(self, path: Path, schema: pa.Schema, partitions: int, buffer_bytes: int = _BUFFER_BYTES) -> None:
        self._path = path
        self._schema = schema
        self.partitions = partitions
        self._buffer_bytes = buffer_bytes
        self._writer = pa.ipc.new_file(str(path), schema)
        self._waiting: list[pa.RecordBatch] = []
        self._numbers: list[np.ndarray] = []
        self._bytes = 0
        self._offsets: list[np.ndarray] = []  # Of each batch, where its partitions begin.
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0

    def add(self, batch: pa.RecordBatch, partitions: np.ndarray) -> None:
        """Takes rows, with the partition of each, int64 [n]."""
        self._waiting.append(batch)
        self._numbers.append(partitions)
        self._bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._bytes >= self._buffer_bytes:
            self._flush()

    def finish(self) -> None:
        """Writes what is left; from now on rows are given and none is taken."""
        self._flush()
        self._writer.close()
        file = pa.ipc.open_file(pa.memory_map(str(self._path)))
        self._batches = [file.get_batch(number) for number in range(file.num_record_batches)]

    def partition(self, number: int) -> list[pa.RecordBatch]:
        """The rows of a partition, in the order in which they were taken."""
        found = []
        for batch, offsets in zip(self._batches, self._offsets, strict=True):
            start, end = int(offsets[number]), int(offsets[number + 1])
            if end > start:
                found.append(batch.slice(start, end - start))
        return found

    def close(self) -> None:
        """Lets go of the file."""
        self._writer.close()
        self._batches, self._waiting = [], []

    def _flush(self) -> None:
        if not self._waiting:
            return
        numbers = np.concatenate(self._numbers)
        rows = pa.concat_batches(self._waiting)
        self._waiting, self._numbers, self._bytes = [], [], 0
        self._writer.write_batch(rows.take(pa.array(np.argsort(numbers, kind="stable"))))
        counts = np.bincount(numbers, minlength=self.partitions)
        self._offsets.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
