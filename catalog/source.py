"""A catalog: its files, the roles and types of their columns, how many rows they hold. Looked at before any work."""

from __future__ import annotations

import hashlib
import json
import re
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
    """Where a catalog is and how it is to be read: the flags of the command line, before anything is opened.

    `allow_http` and `image_roots` are the policy of `storage.ImagePolicy`, which holds for every image of the catalog.
    """

    catalogs: tuple[str, ...]
    images_root: str | None = None
    image_template: str | None = None
    item_id_column: str | None = None
    image_column: str | None = None
    product_id_column: str | None = None
    source_version_column: str | None = None
    allow_http: bool = False
    image_roots: tuple[str, ...] = ()


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
        """Canonical text of all that decides which rows are read and how: part of a run's id. Holds no secrets."""
        parts = [
            [
                *map(nameable, (r.url, r.images_root, r.template)),
                version_of_file(r.url),
                r.roles.__dict__,
                [r.policy.allow_http, [nameable(root) for root in r.policy.roots]],
            ]
            for r in self.readers
        ]
        return json.dumps([parts, str(self.metadata)], sort_keys=True, default=list)


def open_catalog(source: CatalogSource) -> Catalog:
    """Reads every file once: finds roles, infers types, counts rows. Holds a block at a time.

    Raises:
        UsageError: no such file, a missing column, a file that is no table, or types that do not go together.
    """
    urls = _expand(source.catalogs)
    root = _images_root(source)
    policy = _policy(source)
    roles_of: dict[str, ColumnRoles] = {}
    kinds: dict[str, str] = {}
    types: dict[str, pa.DataType] = {}
    rows_of: dict[str, int] = {}
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
            rows_of[url] = parquet_rows(url)
            schema = parquet_schema(url)
            _check_role_types(schema, roles, url)
            for name in roles.metadata:
                types[name] = _agree(name, types.get(name), schema.field(name).type, url)
        elif lines:
            rows_of[url] = lines.rows
            _check_role_kinds(lines, roles, url)
            for name in roles.metadata:
                kinds[name] = merge_kinds(kinds.get(name, "empty"), lines.kinds[name])
        else:
            rows_of[url] = _look_at_csv(url, roles, kinds)
    for name, kind in kinds.items():
        # What Parquet calls text is text: the cells of a text file can always be that.
        if types.get(name) != pa.string():
            first_text = next(url for url in urls if not is_parquet(url) and name in roles_of[url].metadata)
            types[name] = _agree(name, types.get(name), type_of_kind(kind), first_text)
    metadata = pa.schema([pa.field(name, type_) for name, type_ in types.items()])
    names_of_files = [storage.name_of(storage.redact(url)) for url in urls]
    unique = len(set(names_of_files)) == len(urls)
    readers = tuple(
        RowReader(
            url,
            storage.name_of(storage.redact(url)) if unique else storage.redact(url),
            roles_of[url],
            root or storage.parent_of(url),
            source.image_template,
            metadata,
            policy,
            rows_of[url],
        )
        for url in urls
    )
    return Catalog(readers, metadata, sum(rows_of.values()))


def read_rows(reader: RowReader) -> Iterator[pa.RecordBatch]:
    """The catalog rows of one file, a block at a time."""
    for block in read_blocks(reader.url, reader.roles.all):
        yield reader.read(block)


def _images_root(source: CatalogSource) -> str | None:
    """`--images-root`, absolute. Raises UsageError where no image could be below it."""
    if not source.images_root:
        return None
    root = storage.absolute(source.images_root)
    if storage.is_web(root) and storage.redact(root) != root:
        raise UsageError(
            f"--images-root {storage.redact(root)} has a user or a query; give whole URLs in the catalog instead"
        )
    _check_scheme("--images-root", root, source.allow_http)
    return root


def _policy(source: CatalogSource) -> storage.ImagePolicy:
    """Where images may be. Raises UsageError for a root that allows nothing."""
    roots = tuple(storage.absolute(root) for root in source.image_roots)
    for root in roots:
        _check_scheme("--allow-root", root, source.allow_http)
        if not storage.is_below(root, root):
            raise UsageError(f"--allow-root {storage.redact(root)} is not a valid place; expected no .. in it")
    return storage.ImagePolicy(source.allow_http, roots)


def _check_scheme(flag: str, root: str, allow_http: bool) -> None:
    if storage.ImagePolicy(allow_http).refusal(root) is not None:
        needed = "needs --allow-http" if storage.is_web(root) else "is no place that images are read from"
        raise UsageError(f"{flag} {storage.redact(root)} {needed}")


def nameable(place: str | None) -> str | None:
    """The place without secrets, and a hash of its query where it had one, so that two queries stay two."""
    shown = None if place is None else storage.redact_text(place)
    query = re.search(r"[?#].*", place or "", re.DOTALL)
    if place is None or shown == place or query is None:
        return shown
    return f"{shown} {hashlib.sha256(query[0].encode()).hexdigest()[:16]}"


def version_of_file(url: str) -> str:
    """The version of a catalog file; a hash of its bytes where the store cannot tell."""
    try:
        return storage.version_of(url)
    except FileNotFoundError:
        raise
    except OSError:
        with storage.open_read(url) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


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
