"""Some rows of a snapshot, the same ones on every machine: those whose ids have the smallest hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from catalog import storage
from catalog.embedding_file import read_file
from catalog.partition import item_hashes
from catalog.snapshot import FileEntry, Snapshot
from catalog.stored_rows import StoredRows

_SEED = 11


def sample_rows(store: str, snapshot: Snapshot, most: int, columns: Sequence[str]) -> pa.Table:
    """Rows of a snapshot in the order of their ids' hashes, so that the first of them are a sample as well.

    A partition is a random subset of the items, so of a large snapshot only as many are read as have `most` rows.

    Args:
        store: URL of the embedding store.
        most: rows wanted; fewer come where there are fewer.
        columns: beside `item_id`; one that a file does not have is null in its rows.

    Returns:
        `item_id` and `columns`. Metadata is not among what may be asked for: files may disagree about its type.
    """
    names = ["item_id", *(name for name in columns if name != "item_id")]
    found, tables = 0, []
    for number in sorted({entry.partition for entry in snapshot.files}, key=_order):
        if found >= most:
            break
        files = snapshot.files_of(number)
        with StoredRows(store, files) as stored:
            for file, rows, hashes in _chosen(store, files, most):
                tables.append(stored.take(file, rows, names).append_column("hash", pa.array(hashes)))
                found += len(rows)
    if not tables:
        return pa.table({name: pa.array([], pa.string() if name == "item_id" else pa.null()) for name in names})
    whole = pa.concat_tables(tables, promote_options="default")
    for name in names:
        if name not in whole.column_names:
            whole = whole.append_column(name, pa.nulls(len(whole)))
    order = np.argsort(whole["hash"].to_numpy(), kind="stable")[:most]
    return whole.select(names).take(pa.array(order)).combine_chunks()


def _order(partition: int) -> int:
    return xxhash.xxh3_64_intdigest(f"partition {partition}".encode(), _SEED)


def _chosen(store: str, files: Sequence[FileEntry], most: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of the live rows of a partition's files the `most` of smallest hash: number of the file, int64 rows, ascending,
    and their uint64 hashes, of each file that has any."""
    of_file, rows, hashes = [], [], []
    for number, entry in enumerate(files):
        ids = read_file(storage.join(store, entry.path), ["item_id"])["item_id"]
        gone = pc.is_in(ids, value_set=pa.array(entry.removed, pa.string())).to_numpy()
        live = np.nonzero(~gone)[0]
        of_file.append(np.full(len(live), number, np.int64))
        rows.append(live.astype(np.int64))
        hashes.append(item_hashes(ids.take(pa.array(live)).to_pylist(), _SEED))
    file, row, hashed = np.concatenate(of_file), np.concatenate(rows), np.concatenate(hashes)
    kept = np.sort(np.argsort(hashed, kind="stable")[:most])  # Ascending: by file, and in a file by row.
    return [
        (number, row[here], hashed[here]) for number in range(len(files)) if len(here := kept[file[kept] == number])
    ]
