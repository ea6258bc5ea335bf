"""Vectors of any origin: their files, the ids of their rows, what is carried with them. Looked at before any work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from catalog import storage
from catalog.errors import CatalogIndexerError, UsageError
from catalog.id_list import IdList, IdReader, look_at_ids
from catalog.metadata import wider
from catalog.source import nameable, version_of_file
from catalog.table_files import is_parquet
from catalog.vector_files import ENDINGS, ArrayFile, VectorBlock, look_at_array_file
from catalog.vector_tables import TableFile, look_at_table_file


@dataclass(frozen=True)
class VectorInput:
    """Where vectors are and how they are to be read: the flags of the command line, before anything is opened."""

    inputs: tuple[str, ...]
    ids: str | None = None
    id_column: str | None = None
    vector_column: str | None = None


@dataclass(frozen=True)
class VectorSource:
    """Vectors that have been looked at.

    Attributes:
        files: in the order of the rows.
        ids: the file of ids; None where they are a column, or the row numbers.
        dimension: of every vector.
        metadata: the type of each column carried through; columns that a file lacks become null.
    """

    files: tuple[ArrayFile | TableFile, ...]
    ids: IdList | None
    dimension: int
    metadata: pa.Schema

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(file.rows for file in self.files)

    @property
    def by_column(self) -> bool:
        """Whether the ids are a column of the files."""
        return isinstance(self.files[0], TableFile) and self.files[0].item_id is not None

    @property
    def labels(self) -> list[str]:
        """What each file is called in a row's origin."""
        shown = [storage.redact(file.url) for file in self.files]
        names = [storage.name_of(place) for place in shown]
        return names if len(set(names)) == len(names) else shown

    def describe(self) -> str:
        """One line that says what was found."""
        kinds = ", ".join(sorted({file.kind for file in self.files}))
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        column = self.files[0].item_id if isinstance(self.files[0], TableFile) else None
        ids = f"in {storage.redact(self.ids.url)}" if self.ids else f"in column {column!r}" if column else "row numbers"
        carried = ", ".join(f"{field.name} ({field.type})" for field in self.metadata) or "none"
        left = sorted({name for file in self.files if isinstance(file, TableFile) for name in file.left_out})
        out = f"; left out, for they are lists, structs or bytes: {', '.join(left)}" if left else ""
        return f"{self.rows:,} rows of {self.dimension} {kinds} in {files}; item ids {ids}; metadata: {carried}{out}"

    def identity(self) -> list[Any]:
        """All that decides which rows are read and how: part of a run's id. Holds no secrets. The order of files is in
        it only where it gives rows their ids."""
        files = []
        for file in self.files:
            roles = [file.vector, file.item_id, file.product_id] if isinstance(file, TableFile) else []
            files.append([nameable(file.url), version_of_file(file.url), *roles])
        ids = [nameable(self.ids.url), version_of_file(self.ids.url)] if self.ids else None
        return [sorted(files, key=str) if self.by_column else files, ids, str(self.metadata)]

    def blocks(self) -> Iterator[tuple[int, VectorBlock]]:
        """Every row, with its item id, in order: the number of its file, and a block of rows.

        Raises:
            UsageError: a file is not what it said it is.
            CatalogIndexerError: the file of ids was replaced meanwhile.
        """
        reader, taken = IdReader(self.ids) if self.ids else None, 0
        for number, file in enumerate(self.files):
            blocks = file.blocks(self.by_column, self.metadata) if isinstance(file, TableFile) else file.blocks()
            for block in blocks:
                count = len(block.vectors)
                if reader is not None:
                    ids = reader.take(count)
                    if len(ids) != count:
                        raise CatalogIndexerError("the file of ids was replaced while it was read; run it again")
                    block = replace(block, item_id=ids)
                elif block.item_id is None:
                    ids = pa.array([str(row) for row in range(taken, taken + count)], pa.string())
                    block = replace(block, item_id=ids)
                taken += count
                yield number, block


def open_vector_source(source: VectorInput) -> VectorSource:
    """Looks at every file: its rows, its dimension, the roles of its columns.

    Raises:
        UsageError: no such file, one that holds no vectors, or files that do not go together.
    """
    urls = _expand(source.inputs)
    if source.ids and source.id_column:
        raise UsageError("--ids and --id-column both name the item ids; leave one out")
    tables = [url for url in urls if is_parquet(url)]
    for flag, given in (("--vector-column", source.vector_column), ("--id-column", source.id_column)):
        if given is not None and len(tables) < len(urls):
            other = next(url for url in urls if url not in tables)
            raise UsageError(f"{flag} is for Parquet files, and {storage.redact(other)} is none; leave it out")
    files = tuple(
        look_at_table_file(url, source.vector_column, source.id_column, with_ids=source.ids is None)
        if is_parquet(url)
        else look_at_array_file(url)
        for url in urls
    )
    dimension = _common_dimension(files)
    files = tuple(replace(file, dimension=dimension) for file in files)  # Also of a file without a single vector.
    if source.ids is None:
        _check_ids_of_all(files)
    found = VectorSource(files, _open_ids(source.ids), dimension, _common_metadata(files))
    if found.ids and found.ids.rows != found.rows:
        raise UsageError(
            f"--ids {storage.redact(found.ids.url)} has {found.ids.rows:,} lines, and the input has {found.rows:,} "
            "rows; expected one id for each row"
        )
    return found


def _expand(patterns: Sequence[str]) -> list[str]:
    urls: list[str] = []
    for pattern in patterns:
        found = storage.expand(pattern)
        if not found:
            raise UsageError(
                f"--input {storage.redact(pattern)}: no such file; a folder's are named by a glob: FOLDER/*.parquet"
            )
        urls += [storage.absolute(url) for url in found]
    for url in urls:
        if not is_parquet(url) and not url.lower().endswith(ENDINGS):
            raise UsageError(f"--input {storage.redact(url)}: expected .parquet, .npy, .fvecs or .bvecs")
    return list(dict.fromkeys(urls))


def _open_ids(place: str | None) -> IdList | None:
    if place is None:
        return None
    url = storage.absolute(place)
    try:
        return look_at_ids(url)
    except FileNotFoundError:
        raise UsageError(f"--ids {storage.redact(place)}: no such file") from None


def _common_dimension(files: Sequence[ArrayFile | TableFile]) -> int:
    known = [(file, file.dimension) for file in files if file.dimension is not None]
    if not known:
        raise UsageError(f"{storage.redact(files[0].url)} has no vectors; expected rows with numbers")
    first, dimension = known[0]
    for file, other in known[1:]:
        if other != dimension:
            raise UsageError(
                f"{storage.redact(file.url)} has vectors of {other} dimensions, {storage.redact(first.url)} of "
                f"{dimension}; a store holds vectors of one dimension"
            )
    return dimension


def _check_ids_of_all(files: Sequence[ArrayFile | TableFile]) -> None:
    """Raises UsageError when some files have a column of ids and others none."""
    named = [isinstance(file, TableFile) and file.item_id is not None for file in files]
    if any(named) and not all(named):
        without, with_ids = files[named.index(False)], files[named.index(True)]
        raise UsageError(
            f"{storage.redact(without.url)} has no item ids, and {storage.redact(with_ids.url)} has; give all of them "
            "a column of ids, or the ids of all rows with --ids"
        )


def _common_metadata(files: Sequence[ArrayFile | TableFile]) -> pa.Schema:
    """The fields of all files, in an order that the order of the files does not change."""
    types: dict[str, pa.DataType] = {}
    for file in sorted(files, key=lambda file: file.url):
        for field in file.metadata if isinstance(file, TableFile) else ():
            merged = wider(types.get(field.name, field.type), field.type)
            if merged is None:
                raise UsageError(
                    f"column {field.name!r} is {field.type} in {storage.redact(file.url)} and {types[field.name]} in "
                    "another file; give it one type"
                )
            types[field.name] = merged
    return pa.schema(list(types.items()))
