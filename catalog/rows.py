"""Catalog rows: table rows with their roles found, their image located and their mistakes named.

A block of rows is an Arrow record batch of `row_schema`. A row that cannot become an embedding carries its `reason`
already here, and travels on like every other row, so that nothing is lost between the file and the count.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.blocks import Block
from catalog.column_types import convert
from catalog.columns import ColumnRoles, as_text, fill_template, parse_template
from catalog.metadata import cast_number
from catalog.partition import item_hashes
from catalog.rejects import Reason
from catalog.table_files import is_json_lines, is_parquet


def row_schema(metadata: pa.Schema) -> pa.Schema:
    """The schema of a block of rows; `metadata` has a field for each column carried through."""
    fields = [
        pa.field("item_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("origin", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("source_version", pa.string()),
    ]
    return pa.schema(fields + ([pa.field("metadata", pa.struct(list(metadata)))] if len(metadata) else []))


@dataclass(frozen=True)
class RowReader:
    """Turns the blocks of one catalog file into blocks of catalog rows.

    Attributes:
        url: the file.
        label: what the file is called in a row's origin.
        roles: the file's columns by role.
        images_root: absolute folder or URL that relative image locations are below.
        template: `--image-template`, or None where the image column holds the location itself.
        metadata: the type of each column carried through; columns that this file lacks become null.
        policy: where images may be.
        rows: how many the file has, as it was when it was looked at.
    """

    url: str
    label: str
    roles: ColumnRoles
    images_root: str
    template: str | None
    metadata: pa.Schema
    policy: storage.ImagePolicy = field(default_factory=storage.ImagePolicy)
    rows: int = 0

    def read(self, block: Block) -> pa.RecordBatch:
        """Every row of `block`, good or not, as one batch of `row_schema`."""
        table, roles = block.table, self.roles
        item_id = pc.fill_null(as_text(table.column(roles.item_id)), "")
        if roles.item_id == roles.image:  # Locations then, which may be signed; an id is for everybody.
            item_id = pa.array([storage.redact(name) for name in item_id.to_pylist()], pa.string())
        if self.template is None:
            image = as_text(table.column(roles.image))
            location = pc.if_else(pc.equal(pc.fill_null(image, ""), ""), pa.scalar(None, pa.string()), image)
        else:
            fields = parse_template(self.template, table.column_names, roles.image)
            location = fill_template(fields, table, roles.image)
        located = [self._locate(place) for place in location.to_pylist()]
        reasons = [
            Reason.EMPTY_ITEM_ID if not name else reason
            for name, (_, reason, _) in zip(item_id.to_pylist(), located, strict=True)
        ]
        columns: list[pa.Array] = [
            item_id,
            as_text(table.column(roles.product_id)) if roles.product_id else pa.nulls(len(table), pa.string()),
            pa.array([uri for uri, _, _ in located], pa.string()),
            pa.array([self._origin(row) for row in block.rows], pa.string()),
            pa.array([reason.value if reason else None for reason in reasons], pa.string()),
            pa.array(
                [detail if reason is why else None for reason, (_, why, detail) in zip(reasons, located, strict=True)],
                pa.string(),
            ),
            self._source_version(table),
        ]
        if len(self.metadata):
            columns.append(self._metadata(table))
        schema = row_schema(self.metadata)
        good = pa.record_batch(columns, schema=schema)
        if not block.unparsed:
            return good
        bad = [
            {
                "item_id": "",
                "origin": self._origin(row.row),
                "reason": Reason.UNPARSABLE_ROW.value,
                "detail": f"the row {row.detail}",
            }
            for row in block.unparsed
        ]
        return pa.concat_batches([good, pa.RecordBatch.from_pylist(bad, schema)])

    def _origin(self, row: int) -> str:
        return f"{self.label} row {row}"

    def _source_version(self, table: pa.Table) -> pa.Array:
        """The catalog's own version of each image; null where it has none."""
        if self.roles.source_version is None:
            return pa.nulls(len(table), pa.string())
        text = as_text(table.column(self.roles.source_version))
        return pc.if_else(pc.equal(pc.fill_null(text, ""), ""), pa.scalar(None, pa.string()), text)

    def _metadata(self, table: pa.Table) -> pa.StructArray:
        arrays, parquet, csv = [], is_parquet(self.url), not is_json_lines(self.url)
        for column in self.metadata:
            if column.name in table.column_names:
                values = table.column(column.name).combine_chunks()
                values = values if isinstance(values, pa.Array) else pa.array([], values.type)
                arrays.append(cast_number(values, column.type) if parquet else convert(values, column.type, csv))
            else:
                arrays.append(pa.nulls(len(table), column.type))
        return pa.StructArray.from_arrays(arrays, fields=list(self.metadata))

    def _locate(self, place: str | None) -> tuple[str | None, Reason | None, str | None]:
        """The absolute location of an image; or why it is refused, with a sentence where the reason is not enough."""
        if place is None:
            return None, Reason.NO_IMAGE, None
        located = self._absolute(place)
        if located is None:
            return storage.redact_text(place), Reason.OUTSIDE_ROOT, None
        refusal = self.policy.refusal(located)
        if refusal is None:
            return located, None, None
        return storage.redact(located), Reason(refusal), _detail(refusal, located)

    def _absolute(self, place: str) -> str | None:
        """`place` as a path or URL by itself; None where a relative one leaves the images root."""
        if storage.is_url(place):
            return place
        if place.startswith("/"):
            return posixpath.normpath(place)
        web = storage.is_web(self.images_root)
        name, mark, query = place.partition("?") if web else (place, "", "")
        path = posixpath.normpath(name)
        if path == ".." or path.startswith("../"):
            return None
        located = storage.join(self.images_root, path) + mark + query
        return located if not web or storage.is_below(self.images_root, located) else None


def _detail(refusal: str, located: str) -> str:
    if refusal == "outside_root":
        return "the location is below none of the roots that --allow-root names"
    if storage.is_web(located):
        return "images are read from web servers with --allow-http only"
    return f"images are not read from {storage.scheme_of(located)}://"


def split_by_partition(rows: pa.RecordBatch, partitions: int) -> dict[int, pa.RecordBatch]:
    """Each partition's rows of a block. Rows without an id go by their origin, so that they too have one place."""
    keys = [
        item_id or origin
        for item_id, origin in zip(rows.column("item_id").to_pylist(), rows.column("origin").to_pylist(), strict=True)
    ]
    partition = (item_hashes(keys) & np.uint64(partitions - 1)).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    found, starts = np.unique(partition[order], return_index=True)
    ends = [*starts[1:], len(order)]
    sorted_rows = rows.take(pa.array(order))
    return {
        int(p): sorted_rows.slice(int(start), int(end) - int(start))
        for p, start, end in zip(found, starts, ends, strict=True)
    }
