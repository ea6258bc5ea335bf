"""The item ids of a report, and what it says of each: kept or dropped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from catalog import storage
from catalog.columns import as_text
from catalog.csv_file import CsvFile
from catalog.errors import IntegrityError, UsageError

UNKNOWN, KEPT, DROPPED = 0, 1, 2


class ReportIds:
    """All ids of a report, or of one dataset of it, as 128-bit hashes: 18 bytes an id, about twice that while they are
    read."""

    def __init__(self, report: str, dataset: str | None = None) -> None:
        """Reads `keep.csv` and `drop.csv`.

        Raises:
            UsageError: there is no complete report, or the dataset is not named and there are several, or it is none of
                them.
            IntegrityError: an id is both kept and dropped.
        """
        if not storage.exists(storage.join(report, "summary.json")):
            raise UsageError(
                f"--report {storage.redact(report)} has no summary.json; run catalog-indexer dedupe until it is "
                "complete"
            )
        kept, dropped = (_hashes(storage.join(report, f"{name}.csv"), dataset) for name in ("keep", "drop"))
        if dataset is not None and not len(kept) + len(dropped):
            raise UsageError(f"--dataset {dataset}: {storage.redact(report)} has no item of a dataset of this name")
        words = np.concatenate([kept, dropped])
        order = np.lexsort((words[:, 1], words[:, 0]))
        self._high, self._low = words[order, 0], words[order, 1]
        self._said = np.where(order < len(kept), np.int8(KEPT), np.int8(DROPPED))
        self._seen = np.zeros(len(order), bool)
        same = (np.diff(self._high) == 0) & (np.diff(self._low) == 0)
        if (same & (np.diff(self._said) != 0)).any():
            raise IntegrityError(
                f"{storage.redact(report)} is damaged: an item is in both keep.csv and drop.csv; run catalog-indexer "
                "dedupe again"
            )

    def look_up(self, ids: pa.Array) -> np.ndarray:
        """int8 [n] of text [n] without nulls: UNKNOWN, KEPT or DROPPED; and notes that they were asked for."""
        words = _words(ids)
        begin = np.searchsorted(self._high, words[:, 0], "left")
        end = np.searchsorted(self._high, words[:, 0], "right")
        place = np.full(len(words), -1, np.int64)
        for step in range(int((end - begin).max(initial=0))):
            at = begin + step
            here = at < end
            here[here] = self._low[at[here]] == words[here, 1]
            place[here] = at[here]
        found = place >= 0
        self._seen[place[found]] = True
        said = np.zeros(len(words), np.int8)
        said[found] = self._said[place[found]]
        return said

    @property
    def absent(self) -> int:
        """Ids that are dropped and were not asked for."""
        return int(((self._said == DROPPED) & ~self._seen).sum())


def _hashes(url: str, dataset: str | None) -> np.ndarray:
    """uint64 [n, 2]"""
    parts = [np.empty((0, 2), np.uint64), *(_words(ids) for ids in _ids(url, dataset))]
    return np.concatenate(parts)


def _ids(url: str, dataset: str | None) -> Iterator[pa.Array]:
    """The ids of a file, some at a time."""
    file = CsvFile(url)
    if "item_id" not in file.names:
        raise UsageError(f"{storage.redact(url)} has no column 'item_id'; its columns are: {', '.join(file.names)}")
    several = "dataset" in file.names
    if several and dataset is None:
        raise UsageError(f"{storage.redact(url)} is of several datasets; name that of the catalog with --dataset")
    if dataset is not None and not several:
        raise UsageError(f"--dataset {dataset}: {storage.redact(url)} is of a single dataset; leave the flag out")
    for block in file.blocks():
        if block.unparsed:
            wrong = block.unparsed[0]
            raise UsageError(f"{storage.redact(url)}, row {wrong.row}, {wrong.detail}")
        table = block.table
        if several:
            table = table.filter(pc.equal(table["dataset"], dataset))
        yield as_text(table["item_id"])


def _words(ids: pa.Array) -> np.ndarray:
    """uint64 [n, 2] of text."""
    digests = b"".join(xxhash.xxh3_128_digest(each.encode()) for each in ids.to_pylist())
    return np.frombuffer(digests, "<u8").reshape(-1, 2)
