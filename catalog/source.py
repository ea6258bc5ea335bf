"""A catalog: its files, the roles and types of their columns, how many rows they hold. Looked at before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from catalog import storage
from catalog.column_types import kind_of, merge_kinds, type_of_kind
from catalog.columns import ColumnRoles, choose_roles, parse_template
from catalog.errors import UsageError
from catalog.json_lines import JsonLinesLook, look_at_json_lines
from catalog.metadata import wider
from catalog.rows import RowReader
from catalog.table_files import (
    check_readable,
    column_names,
    is_json_lines,
    is_parquet,
    parquet_rows,
    parquet_schema,
    read_blocks,
)


@dataclass(frozen=True)
class CatalogSource:
    """Where a catalog is and how it is to be read: the flags of the command line, before anything is opened."""

    catalogs: tuple[str, ...]
    images_root: str | None = None
    image_template: str | None = None
    item_id_column: str | None = None
    image_column: str | None = None
    product_id_column: str | None = None
    source_version_column: str | None = None


@dataclass(frozen=True)
class Catalog:
    """A catalog that has been looked at: one reader a file, the types of the metadata, and the number of rows."""

    readers: tuple[RowReader, ...]
    metadata: pa.Schema
    rows: int

    def describe(self) -> str:
        """One line that says what was found."""
        roles = self.readers[0].roles
        product = f", product {roles.product_id!r}" if roles.product_id else ""
        carried = ", ".join(f"{field.name} ({field.type})" for field in self.metadata) or "none"
        files = "1 file" if len(self.readers) == 1 else f"{len(self.readers)} files"
        return (
            f"{self.rows:,} rows in {files}; item id {roles.item_id!r}, image {roles.image!r}{product}; "
            f"metadata: {carried}"
        )

    def identity(self) -> str:
        """Canonical text of all that decides which rows are read and how: part of a run's id."""
        parts = [[r.url, storage.version_of(r.url), r.images_root, r.template, r.roles.__dict__] for r in self.readers]
        return json.dumps([parts, str(self.metadata)], sort_keys=True, default=list)


def open_catalog(source: CatalogSource) -> Catalog:
    """Reads every file once: finds roles, infers types, counts rows. Holds a block at a time.

    Raises:
        UsageError: no such file, a missing column, a file that is no table, or types that do not go together.
    """
    urls = _expand(source.catalogs)
    root = storage.absolute(source.images_root) if source.images_root else None
    roles_of: dict[str, ColumnRoles] = {}
    kinds: dict[str, str] = {}
    types: dict[str, pa.DataType] = {}
    rows = 0
    for url in urls:
        check_readable(url)
        lines = look_at_json_lines(url) if is_json_lines(url) else None
        names = list(lines.kinds) if lines else column_names(url)
        roles = choose_roles(
            names,
            storage.redact(url),
            source.item_id_column,
            source.image_column,
            source.product_id_column,
            source.source_version_column,
        )
        if source.image_template is not None:
            parse_template(source.image_template, names, roles.image)
        roles_of[url] = roles
        if is_parquet(url):
            rows += parquet_rows(url)
            schema = parquet_schema(url)
            _check_role_types(schema, roles, url)
            for name in roles.metadata:
                types[name] = _agree(name, types.get(name), schema.field(name).type, url)
        elif lines:
            rows += lines.rows
            _check_role_kinds(lines, roles, url)
            for name in roles.metadata:
                kinds[name] = merge_kinds(kinds.get(name, "empty"), lines.kinds[name])
        else:
            rows += _look_at_csv(url, roles, kinds)
    for name, kind in kinds.items():
        # What Parquet calls text is text: the cells of a text file can always be that.
        if types.get(name) != pa.string():
            first_text = next(url for url in urls if not is_parquet(url) and name in roles_of[url].metadata)
            types[name] = _agree(name, types.get(name), type_of_kind(kind), first_text)
    metadata = pa.schema([pa.field(name, type_) for name, type_ in types.items()])
    names_of_files = [storage.name_of(url) for url in urls]
    unique = len(set(names_of_files)) == len(urls)
    readers = tuple(
        RowReader(
            url,
            storage.name_of(url) if unique else storage.redact(url),
            roles_of[url],
            root or storage.parent_of(url),
            source.image_template,
            metadata,
        )
        for url in urls
    )
    return Catalog(readers, metadata, rows)


def read_rows(reader: RowReader) -> Iterator[pa.RecordBatch]:
    """The catalog rows of one file, a block at a time."""
    for block in read_blocks(reader.url, reader.roles.all):
        yield reader.read(block)


def _expand(patterns: Sequence[str]) -> list[str]:
    urls: list[str] = []
    for pattern in patterns:
        found = storage.expand(pattern)
        if not found:
            raise UsageError(f"--catalog {storage.redact(pattern)}: no such file")
        urls += [storage.absolute(url) for url in found]
    return list(dict.fromkeys(urls))


def _look_at_csv(url: str, roles: ColumnRoles, kinds: dict[str, str]) -> int:
    """Widens `kinds` to hold the file's values; returns its number of rows, with those that do not parse."""
    rows = 0
    for name in roles.metadata:
        kinds.setdefault(name, "empty")
    for block in read_blocks(url):
        rows += len(block.table) + len(block.unparsed)
        for name in roles.metadata:
            if kinds[name] != "text":
                kinds[name] = merge_kinds(kinds[name], kind_of(block.table.column(name)))
    return rows


def _agree(name: str, one: pa.DataType | None, other: pa.DataType, url: str) -> pa.DataType:
    merged = other if one is None else wider(one, other)
    if merged is None:
        raise UsageError(
            f"column {name!r} is {one} in one catalog file and {other} in {storage.redact(url)}; give it one type"
        )
    return merged


def _check_role_types(schema: pa.Schema, roles: ColumnRoles, url: str) -> None:
    """Raises UsageError when an id or a location is of a type that is neither text nor a whole number."""
    for name in {roles.item_id, roles.image, roles.product_id, roles.source_version} - {None}:
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            raise UsageError(
                f"{storage.redact(url)}: column {name!r} is {kind}; ids and image locations must be text "
                "or whole numbers"
            )


def _check_role_kinds(lines: JsonLinesLook, roles: ColumnRoles, url: str) -> None:
    """Raises UsageError when all that a JSON Lines file has for an id or a location are lists and objects."""
    for name in roles.all:
        if name not in roles.metadata and lines.kinds[name] == "json":
            raise UsageError(
                f"{storage.redact(url)}: {name!r} is a list or an object in every row; ids and image locations must be "
                "text or whole numbers"
            )
