"""What people decided before: pairs that they found to be different, and items that are never dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.columns import as_text
from catalog.csv_file import CsvFile
from catalog.errors import UsageError
from catalog.id_list import IdReader, look_at_ids
from catalog.metadata import as_texts
from catalog.text_stream import cannot_be_read

_PAIR = ("item_id", "other_item_id")
_VERDICT = "verdict"
DIFFERENT, SAME = "different", "same"
_IDS_AT_ONCE = 1 << 16
# Not a path, in which a slash comes before the first "=".
_BY_COLUMN = re.compile(r"([^/\\=]+)=(.*)", re.DOTALL)


def read_ignored(url: str) -> pa.Table:
    """The pairs of an ignore list that are not duplicates, whatever they score.

    The file is CSV. With the columns `item_id`, `other_item_id` and `verdict`, a verdict `different` ignores the pair
    and `same` does not; of several rows of one pair the last one counts, in either direction. Without `verdict`, or as
    two columns without a header, every pair is ignored.

    Returns:
        `item_id`, `other_item_id` (string): each pair once, the smaller id first, sorted.

    Raises:
        UsageError: names the file and the row.
    """
    verdicts: dict[tuple[str, str], bool] = {}
    for row, cells in _pairs(url):
        one, other, verdict = cells
        where = f"{storage.redact(url)}, row {row}"
        if not one or not other:
            raise UsageError(f"{where}: an item id is empty; expected two ids")
        if one == other:
            raise UsageError(f"{where}: both ids are {one!r}; expected two items")
        if verdict not in (DIFFERENT, SAME):
            raise UsageError(f"{where}: verdict {verdict!r} is neither {DIFFERENT!r} nor {SAME!r}")
        verdicts[min(one, other), max(one, other)] = verdict == DIFFERENT
    ignored = sorted(pair for pair, different in verdicts.items() if different)
    columns = zip(*ignored, strict=True) if ignored else ((), ())
    return pa.table({name: pa.array(ids, pa.string()) for name, ids in zip(_PAIR, columns, strict=True)})


@dataclass(frozen=True)
class Protection:
    """Items that are never dropped: by id, or by the value of a column.

    Attributes:
        ids: string, each once.
        columns: the columns, and the values of each that protect.
    """

    ids: pa.Array
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def rows(self, table: pa.Table) -> np.ndarray:
        """bool [n] of a table with `item_id` and, where columns protect, the struct `metadata` or those columns."""
        protected = pc.is_in(table["item_id"].combine_chunks().cast(pa.string()), value_set=self.ids)
        for name, values in self.columns:
            column = _column(table, name)
            if column is not None:
                texts = pa.array(as_texts(column), pa.string())
                protected = pc.or_(protected, pc.is_in(texts, value_set=pa.array(values, pa.string())))
        return np.asarray(protected.to_numpy(zero_copy_only=False), bool)


def names_column(source: str) -> bool:
    """Whether a source of `read_protected` is `COLUMN=VALUE`, not a file."""
    return _BY_COLUMN.fullmatch(source) is not None


def read_protected(sources: Sequence[str], flag: str = "--protect") -> Protection:
    """Reads what protects, each a file of item ids or `COLUMN=VALUE|VALUE`.

    A file whose name ends in .csv or .tsv (or so before .gz) has a header and a column `item_id`; any other has an id a
    line. A file with "=" in its name is written with a folder: `./a=b.txt`.

    Raises:
        UsageError: names the flag or the file and row.
    """
    ids: list[pa.Array] = []
    columns: dict[str, list[str]] = {}
    for source in sources:
        if by_column := _BY_COLUMN.fullmatch(source):
            name, values = by_column[1].strip(), [value.strip() for value in by_column[2].split("|")]
            if not name or not all(values):
                raise UsageError(f"{flag} {source}: expected a column and its values, such as vendor=acme|globex")
            columns.setdefault(name, []).extend(values)
        else:
            ids += _ids(source)
    every = pa.chunked_array(ids, pa.string()).unique()
    return Protection(every, tuple((name, tuple(dict.fromkeys(values))) for name, values in columns.items()))


def _pairs(url: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """The number of each row, and both ids and the verdict in it."""
    file = CsvFile(url)
    names = [name.strip().lower() for name in file.names]
    if not set(_PAIR) <= set(names):
        if len(names) != 2:
            raise UsageError(
                f"{storage.redact(url)} has the columns {', '.join(file.names)}; expected {_PAIR[0]}, {_PAIR[1]} and "
                f"{_VERDICT}, or two columns of ids"
            )
        yield 1, (file.names[0].strip(), file.names[1].strip(), DIFFERENT)
        places = [0, 1]
    else:
        places = [names.index(name) for name in (*_PAIR, _VERDICT) if name in names]
    for rows, columns in _blocks(file, url, places):
        one, other, *verdict = (column.to_pylist() for column in columns)
        verdicts = [text.lower() for text in verdict[0]] if verdict else [DIFFERENT] * len(rows)
        yield from zip(rows, zip(one, other, verdicts, strict=True), strict=True)


def _blocks(file: CsvFile, url: str, places: list[int]) -> Iterator[tuple[list[int], list[pa.Array]]]:
    """Some rows at a time: their numbers, and some of their columns as text without white space around it."""
    for block in file.blocks():
        if block.unparsed:
            wrong = block.unparsed[0]
            raise UsageError(f"{storage.redact(url)}, row {wrong.row}, {wrong.detail}")
        yield block.rows.tolist(), [as_text(block.table.column(place)) for place in places]


def _ids(url: str) -> Iterator[pa.Array]:
    """The ids of a file, some at a time."""
    if not url.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        yield from _lines(url)
        return
    file = CsvFile(url)
    names = [name.strip().lower() for name in file.names]
    if _PAIR[0] not in names:
        listed = ", ".join(file.names)
        raise UsageError(f"{storage.redact(url)} has no column {_PAIR[0]!r}; its columns are: {listed}")
    for rows, (ids,) in _blocks(file, url, [names.index(_PAIR[0])]):
        empty = pc.index(ids, "").as_py()
        if empty >= 0:
            raise UsageError(f"{storage.redact(url)}, row {rows[empty]}: the item id is empty")
        yield ids


def _lines(url: str) -> Iterator[pa.Array]:
    """The lines that are not empty."""
    try:
        reader = IdReader(look_at_ids(url))
        while len(ids := reader.take(_IDS_AT_ONCE)):
            yield pc.filter(ids, pc.not_equal(ids, ""))
    except FileNotFoundError as error:
        raise cannot_be_read(url, error) from None


def _column(table: pa.Table, name: str) -> pa.Array | None:
    """A field of `metadata`, or else a column of the table; None where this table has neither."""
    if "metadata" in table.column_names and table["metadata"].type.get_field_index(name) >= 0:
        return pc.struct_field(table["metadata"].combine_chunks(), [name])
    return table[name].combine_chunks() if name in table.column_names else None
