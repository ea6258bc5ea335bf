"""Tables ordered by `item_id` in files of the local disk: written in small batches, merged in bounded memory.

Rows of one id are ordered by a key that the caller makes, and that only where an id is there more than once.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: The keys that order the rows of a table among those of the same id; they compare as Python compares them.
Ties = Callable[[pa.Table], Sequence[Any]]

_BATCH_ROWS = 2_048
_BATCH_BYTES = 512 << 10
# Rows that are copied at a time to have their keys made.
_KEYS_AT_ONCE = 64
# Files of which a batch each is held; more are merged to fewer first.
_MERGED_AT_ONCE = 16


def in_order(table: pa.Table, ties: Ties) -> pa.Table:
    """The rows by `item_id`, those of one id by `ties`; in one piece."""
    table = table.combine_chunks()
    order = pc.sort_indices(table["item_id"]).to_numpy().astype(np.int64)
    ids = table["item_id"].take(pa.array(order))
    if len(ids) > 1:
        same = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy().astype(bool)
        tied = np.zeros(len(ids), bool)
        tied[1:] |= same
        tied[:-1] |= same
        places = np.flatnonzero(tied)
        if len(places):
            group = np.concatenate([[0], np.cumsum(~same)])[places].tolist()
            some = (order[places[start : start + _KEYS_AT_ONCE]] for start in range(0, len(places), _KEYS_AT_ONCE))
            keys = [key for rows in some for key in ties(table.take(pa.array(rows)))]
            order[places] = order[places][sorted(range(len(places)), key=lambda each: (group[each], keys[each]))]
    return table.take(pa.array(order)).combine_chunks()


def write_sorted(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Writes tables that follow one another as one Arrow IPC file, compressed, in small batches."""
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), schema, options=options) as writer:
        for table in tables:
            width = max(1, table.nbytes // max(1, len(table)))
            rows = min(_BATCH_ROWS, max(16, _BATCH_BYTES // width))
            for start in range(0, len(table), rows):
                writer.write_batch(table.slice(start, rows).combine_chunks().to_batches()[0])


def read_sorted(paths: Sequence[Path], scratch: Path, ties: Ties) -> Iterator[pa.Table]:
    """The rows of sorted files as one sorted sequence of small tables.

    Args:
        paths: what `write_sorted` wrote, of one schema.
        scratch: a folder for what is merged first where there are many.
        ties: the keys by which the files are sorted.
    """
    ours: list[Path] = []
    while len(paths) > _MERGED_AT_ONCE:
        fewer = []
        for start in range(0, len(paths), _MERGED_AT_ONCE):
            some = paths[start : start + _MERGED_AT_ONCE]
            with tempfile.NamedTemporaryFile(dir=scratch, suffix=".merged", delete=False) as file:
                fewer.append(Path(file.name))
            write_sorted(fewer[-1], _merged(some, ties), _schema(some[0]))
            for path in set(some).intersection(ours):
                path.unlink()
        paths = ours = fewer
    yield from _merged(paths, ties)


def _schema(path: Path) -> pa.Schema:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).schema


def _batches(path: Path) -> Iterator[pa.Table]:
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _merged(paths: Sequence[Path], ties: Ties) -> Iterator[pa.Table]:
    sources = [_batches(path) for path in paths]
    heads = {number: head for number, source in enumerate(sources) if (head := next(source, None)) is not None}
    while len(heads) > 1:
        # Up to the first of the last rows all that there is has been read.
        last = min(_id(head, -1) for head in heads.values())
        ends = [head.slice(len(head) - 1) for head in heads.values() if _id(head, -1) == last]
        key = min(ties(end)[0] for end in ends)
        parts = []
        for number, head in list(heads.items()):
            count = _up_to(head, last, key, ties)
            parts.append(head.slice(0, count))
            rest = head.slice(count) if count < len(head) else next(sources[number], None)
            heads |= {number: rest}
            if rest is None:
                del heads[number]
        yield in_order(pa.concat_tables(parts), ties)
    for number, head in heads.items():
        yield head
        yield from sources[number]


def _id(table: pa.Table, row: int) -> str:
    return str(table["item_id"][row].as_py())


def _up_to(table: pa.Table, item_id: str, key: Any, ties: Ties) -> int:
    """How many of the sorted rows are not after an id and a key."""
    rows = range(len(table))
    first = bisect_left(rows, item_id, key=lambda row: _id(table, row))
    last = bisect_right(rows, item_id, first, key=lambda row: _id(table, row))
    return first + bisect_right(range(first, last), key, key=lambda row: ties(table.slice(row, 1))[0])
