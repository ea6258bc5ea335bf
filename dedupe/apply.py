"""A report applied: a catalog without the rows of the items that the report drops, all else as it was.

Rows of text files are copied as the bytes that they are; of Parquet files values are. Neither the catalog nor an image
is touched.
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.blocks import Block
from catalog.columns import as_text, choose_roles
from catalog.csv_file import CsvFile
from catalog.errors import UsageError
from catalog.json_lines import look_at_json_lines, read_json_lines
from catalog.table_files import check_readable, column_names, is_json_lines, is_parquet, parquet_schema
from dedupe.raw_rows import is_blank, raw_csv_rows, raw_lines
from dedupe.report_ids import DROPPED, UNKNOWN, ReportIds

_BATCH_ROWS = 65_536
# What is written as one row group, as far as rows are of usual size.
_GROUP_ROWS = 1 << 20
_GROUP_BYTES = 64 << 20


@dataclass
class Applied:
    """What became of the rows: `rows` = `kept` + `dropped`.

    Attributes:
        rows: of the catalog, those that cannot be read included, which are kept.
        kept, dropped: rows.
        not_in_report: rows among those kept whose item the report says nothing of: new since then, or rejected.
        absent: items that the report drops and the catalog does not have.
        files: that were written.
    """

    rows: int = 0
    kept: int = 0
    dropped: int = 0
    not_in_report: int = 0
    absent: int = 0
    files: list[str] = field(default_factory=list)


def apply(
    report: str,
    catalogs: list[str],
    output: str,
    dataset: str | None = None,
    item_id_column: str | None = None,
    image_column: str | None = None,
) -> Applied:
    """Writes cleaned copies of the files of a catalog, each whole or not at all, rows in their order.

    Args:
        report: URL of a complete report.
        catalogs: paths, URLs or globs.
        output: of a single file its URL; of several that of a folder, in which they have their names.
        dataset: of a report of several, which one the catalog is of.
        item_id_column, image_column: as in `catalog.columns.choose_roles`.

    Raises:
        UsageError: no such file, an output that is an input or of another kind, a missing column, a report that is not
            complete.
    """
    urls = _expand(catalogs)
    targets = _targets(urls, storage.check_writable(storage.absolute(output)), storage.absolute(report))
    columns = [_IdColumn.of(url, item_id_column, image_column) for url in urls]
    ids = ReportIds(storage.absolute(report), dataset)
    applied = Applied()
    for url, target, column in zip(urls, targets, columns, strict=True):
        with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
            path = Path(scratch) / "cleaned"
            if is_parquet(url):
                _copy_parquet(url, path, column, ids, applied)
            else:
                _copy_text(url, path, target.lower().endswith(".gz"), column, ids, applied)
            storage.put_file(path, target)
        applied.files.append(target)
    applied.kept = applied.rows - applied.dropped
    applied.absent = ids.absent
    return applied


def _expand(patterns: list[str]) -> list[str]:
    urls: list[str] = []
    for pattern in patterns:
        found = storage.expand(pattern)
        if not found:
            raise UsageError(f"--catalog {storage.redact(pattern)}: no such file")
        urls += [storage.absolute(url) for url in found]
    return list(dict.fromkeys(urls))


def _targets(urls: list[str], output: str, report: str) -> list[str]:
    """Where each file goes. Raises UsageError where it would replace what must stay, or be of another kind."""
    names = [storage.name_of(url) for url in urls]
    if len(set(names)) < len(names):
        raise UsageError("--catalog: two files have one name; give them to dedupe apply one at a time")
    targets = [output] if len(urls) == 1 else [storage.join(output, name) for name in names]
    taken = {_real(url) for url in urls}
    for url, target in zip(urls, targets, strict=True):
        if _real(target) in taken:
            raise UsageError(f"--output {storage.redact(target)} is the catalog, which is never changed; name another")
        if storage.is_below(report, target):
            raise UsageError(f"--output {storage.redact(target)} is in the report; name a file elsewhere")
        check_readable(url)
        check_readable(target)
        if _kind(url) != _kind(target):
            raise UsageError(
                f"--output {storage.redact(target)} is not named as a file of the kind of {storage.redact(url)}; the "
                "format stays as it is"
            )
    return targets


def _real(url: str) -> str:
    return str(Path(url).resolve()) if storage.scheme_of(url) == "file" else url


def _kind(url: str) -> str:
    if is_parquet(url):
        return "parquet"
    if is_json_lines(url):
        return "json lines"
    return "tabs" if url.lower().removesuffix(".gz").endswith((".tsv", ".tab")) else "text"


@dataclass(frozen=True)
class _IdColumn:
    """The column with the item ids of a file; `location` where it is that of the images as well."""

    name: str
    location: bool

    @classmethod
    def of(cls, url: str, item_id: str | None, image: str | None) -> _IdColumn:
        names = list(look_at_json_lines(url).kinds) if is_json_lines(url) else column_names(url)
        try:
            roles = choose_roles(names, storage.redact(url), item_id, image)
        except UsageError:
            if item_id not in names or image is not None:
                raise
            return cls(str(item_id), False)  # A catalog of ids needs no column of images here.
        return cls(roles.item_id, roles.item_id == roles.image)

    def texts(self, column: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Ids as embed makes them: locations, which may be signed, without what nobody should see."""
        texts = as_text(column).fill_null("")
        return pa.array([storage.redact(each) for each in texts.to_pylist()], pa.string()) if self.location else texts


def _dropped(texts: pa.Array, ids: ReportIds, applied: Applied) -> np.ndarray:
    """bool [n]: whether each row goes; counts all but `rows`."""
    said = ids.look_up(texts)
    applied.not_in_report += int((said == UNKNOWN).sum())
    dropped = said == DROPPED
    applied.dropped += int(dropped.sum())
    return dropped


def _copy_parquet(url: str, path: Path, column: _IdColumn, ids: ReportIds, applied: Applied) -> None:
    carried = parquet_schema(url).field(column.name).type
    with storage.open_read(url) as handle:
        file = pq.ParquetFile(handle)
        schema = file.schema_arrow
        codec = file.metadata.row_group(0).column(0).compression if file.metadata.num_row_groups else "SNAPPY"
        waiting: list[pa.Table] = []
        with pq.ParquetWriter(path, schema, compression="NONE" if codec == "UNCOMPRESSED" else codec) as writer:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                table = pa.Table.from_batches([batch])
                applied.rows += len(table)
                dropped = _dropped(column.texts(table[column.name].cast(carried, safe=False)), ids, applied)
                waiting.append(table.filter(pa.array(~dropped)))
                rows, size = sum(map(len, waiting)), sum(each.nbytes for each in waiting)
                if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=_GROUP_ROWS)
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting), row_group_size=_GROUP_ROWS)


def _copy_text(url: str, path: Path, compress: bool, column: _IdColumn, ids: ReportIds, applied: Applied) -> None:
    with contextlib.ExitStack() as stack:
        file = cast(BinaryIO, stack.enter_context(path.open("wb")))
        if compress:
            # Without a time and a name, so that the same rows are the same bytes.
            file = cast(BinaryIO, stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0)))
        for row in _kept_rows(url, column, ids, applied):
            file.write(row)


def _kept_rows(url: str, column: _IdColumn, ids: ReportIds, applied: Applied) -> Iterator[bytes]:
    """The raw rows that stay. They are walked along with the rows as a reader of catalogs numbers and reads them."""
    blocks: Iterator[Block]
    if is_json_lines(url):
        raw, header = raw_lines(url), 0
        blocks = read_json_lines(url, [column.name])
    else:
        table = CsvFile(url)
        raw, header = raw_csv_rows(url, table.delimiter), 1
        blocks = table.blocks()
    walk = _Walk(url, raw, header, applied)
    for block in blocks:
        walk.broken.update(each.row for each in block.unparsed)
        cells = block.table.column(column.name)
        dropped = _dropped(column.texts(cells), ids, applied)
        texts = cells.to_pylist() if header else [None] * len(dropped)
        for number, goes, text in zip(block.rows.tolist(), dropped.tolist(), texts, strict=True):
            yield from walk.before(number)
            row = walk.row(number, text)
            if not goes:
                yield row
    yield from walk.before(None)


class _Walk:
    """Raw rows in step with their numbers."""

    def __init__(self, url: str, raw: Iterator[bytes], header: int, applied: Applied) -> None:
        self.broken: set[int] = set()
        self._url, self._raw, self._header, self._applied = url, raw, header, applied
        self._number = 0
        self._next: bytes | None = None

    def before(self, number: int | None) -> Iterator[bytes]:
        """The header, blank lines and rows that cannot be read, up to a row; None for the end."""
        for row in self._raw:
            if is_blank(row, bool(self._header)):
                yield row
                continue
            self._number += 1
            if self._number == number:
                self._next = row
                return
            if self._number > self._header:
                if self._number not in self.broken:
                    raise _misread(self._url, self._number)
                self._applied.rows += 1
                self._applied.not_in_report += 1
            yield row
        if number is not None:
            raise _misread(self._url, number)

    def row(self, number: int, text: str | None) -> bytes:
        """The row of that number, which has the text for a cell."""
        row = self._next
        assert row is not None
        if text is not None and text.encode() not in row and text.replace('"', '""').encode() not in row:
            raise _misread(self._url, number)
        self._applied.rows += 1
        return row


def _misread(url: str, row: int) -> UsageError:
    return UsageError(
        f"{storage.redact(url)}, row {row}: where it ends cannot be told, for a quote inside it; write the file anew "
        "with cells that have quotes or line ends in quotes"
    )
