"""Several sequences of rows ordered by `item_id`, walked along side by side in slices of bounded size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa


class IdStream:
    """Rows by ascending `item_id`, each id once, of which a slice and a table more are held.

    Args:
        tables: the rows, in tables that follow one another.
        schema: of the tables.
    """

    def __init__(self, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
        self._tables = iter(tables)
        self._held = schema.empty_table()

    def bound(self, rows: int, size: int) -> str | None:
        """The last id that a slice of at most `rows` rows, and about `size` bytes, may have; None where all that is
        left fits."""
        while not len(self._held) or (len(self._held) <= rows and self._held.nbytes <= size):
            table = next(self._tables, None)
            if table is None:
                return None
            self._held = pa.concat_tables([self._held, table]) if len(self._held) else table
        return str(self._held["item_id"][min(rows, len(self._held)) - 1].as_py())

    def take(self, bound: str | None) -> pa.Table:
        """The rows up to an id that `bound` allows, in one piece."""
        count, ids = len(self._held), self._held["item_id"]
        if bound is not None:
            count = bisect_right(range(count), bound, key=lambda row: ids[row].as_py())
        taken = self._held.slice(0, count).combine_chunks()
        self._held = self._held.slice(count)
        return taken


def slices(streams: Sequence[IdStream], rows: int, size: int) -> Iterator[list[pa.Table]]:
    """For one range of ids after the other, the rows of each stream with those ids: at most `rows` of each, and no more
    than about `size` bytes."""
    while True:
        bounds = [stream.bound(rows, size) for stream in streams]
        bound = min((each for each in bounds if each is not None), default=None)
        parts = [stream.take(bound) for stream in streams]
        if any(len(part) for part in parts):
            yield parts
        if bound is None:
            return


def in_pieces(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows, each in one piece, so that how they came leaves no trace."""
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        waiting.append(table)
        held += len(table)
        if held >= rows:
            whole = pa.concat_tables(waiting)
            for start in range(0, held - held % rows, rows):
                yield whole.slice(start, rows).combine_chunks()
            waiting, held = [whole.slice(held - held % rows)], held % rows
    if held:
        yield pa.concat_tables(waiting).combine_chunks()
