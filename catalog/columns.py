"""Which column is what: roles by flag or by name, and image locations from bare ids by template."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UsageError

# Best first. A name counts in any case, with "-" or " " for "_".
_ITEM_ID_NAMES = ("item_id", "id", "image_id", "asset_id", "uid", "uuid", "key")
_IMAGE_NAMES = (
    *("image", "image_uri", "image_url", "image_path", "img", "picture", "photo"),
    *("path", "file", "filename", "file_name", "uri", "url"),
)
_PRODUCT_ID_NAMES = ("product_id", "product", "sku", "parent_id", "style_id", "asin")


@dataclass(frozen=True)
class ColumnRoles:
    """The column that holds each role, and the columns carried through as metadata.

    `item_id` and `image` may be the same column (bare ids); `product_id` is None where a catalog has no products,
    `source_version` where changes are not told by a column.
    """

    item_id: str
    image: str
    product_id: str | None
    metadata: tuple[str, ...]
    source_version: str | None = None

    @property
    def all(self) -> list[str]:
        """Every column of the file, once."""
        found = (self.item_id, self.image, self.product_id, self.source_version, *self.metadata)
        return list(dict.fromkeys(name for name in found if name is not None))


def choose_roles(
    names: Sequence[str],
    where: str,
    item_id: str | None = None,
    image: str | None = None,
    product_id: str | None = None,
    source_version: str | None = None,
) -> ColumnRoles:
    """Gives every role a column: the one named by a flag, else the first of the usual names.

    Args:
        names: the columns of the file.
        where: the file, for the message.

    Raises:
        UsageError: a named column is missing, or no column can be the image.
    """
    listed = ", ".join(names)
    for flag, name in (
        ("--item-id-column", item_id),
        ("--image-column", image),
        ("--product-id-column", product_id),
        ("--source-version-column", source_version),
    ):
        if name is not None and name not in names:
            raise UsageError(f"{where} has no column {name!r} ({flag}); its columns are: {listed}")
    image = image or first_known(names, _IMAGE_NAMES)
    if image is None:
        raise UsageError(f"{where}: no column looks like the image; name it with --image-column, one of: {listed}")
    # A catalog whose only identity is the image name (bare ids) has that as its item id.
    item_id = item_id or first_known(names, _ITEM_ID_NAMES) or image
    product_id = product_id or first_known([name for name in names if name != item_id], _PRODUCT_ID_NAMES)
    roles = {item_id, image, product_id, source_version}
    metadata = tuple(name for name in names if name not in roles)
    return ColumnRoles(item_id, image, product_id, metadata, source_version)


def first_known(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the first of some usual names, in any case and with "-" or " " for "_"; None if none has."""
    normal = {name.strip().lower().replace("-", "_").replace(" ", "_"): name for name in reversed(names)}
    return next((normal[name] for name in known if name in normal), None)


def parse_template(template: str, names: Sequence[str], image_column: str) -> list[tuple[str, str | None]]:
    """Splits `images/{image}.jpg` into (literal, column) pairs; `{image}` is also the image column's role name.

    Raises:
        UsageError: the template is malformed or names no column of the catalog.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--image-template {template!r} is malformed: {error}") from None
    fields: list[tuple[str, str | None]] = []
    for literal, name, spec, conversion in parts:
        if name is None:
            fields.append((literal, None))
            continue
        column = name if name in names else image_column if name == "image" else None
        if column is None or spec or conversion:
            raise UsageError(
                f"--image-template {template!r}: {{{name}}} is no column; use one of: "
                + ", ".join(f"{{{column}}}" for column in names)
            )
        fields.append((literal, column))
    if not any(column for _, column in fields):
        raise UsageError(f"--image-template {template!r} names no column, so every item would have one image")
    return fields


def fill_template(fields: list[tuple[str, str | None]], table: pa.Table, image_column: str) -> pa.Array:
    """The image location of each row of `table`; null where the image cell is empty."""
    pieces: list[pa.Array | pa.Scalar] = []
    for literal, column in fields:
        pieces.append(pa.scalar(literal))
        if column is not None:
            pieces.append(as_text(table.column(column)))
    filled = pc.binary_join_element_wise(*pieces, pa.scalar(""), null_handling="replace", null_replacement="")
    image = as_text(table.column(image_column))
    return pc.if_else(pc.equal(pc.fill_null(image, ""), ""), pa.scalar(None, pa.string()), filled)


def as_text(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Any column as strings, white space around them removed."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # pyarrow returns zero chunks as they are
            values = pa.array([], values.type)
    return pc.utf8_trim_whitespace(values.cast(pa.string()))
