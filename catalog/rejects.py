"""Rejects: input rows that did not become an embedding, each with one reason of a closed set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog import storage


class Reason(StrEnum):
    """Why a row was rejected. Documented in docs/formats.md; a new reason is a new schema version."""

    # The row
    UNPARSABLE_ROW = "unparsable_row"
    EMPTY_ITEM_ID = "empty_item_id"
    DUPLICATE_ITEM_ID = "duplicate_item_id"
    # The image's place
    NO_IMAGE = "no_image"
    OUTSIDE_ROOT = "outside_root"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    ADDRESS_REFUSED = "address_refused"
    # The read
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    TIMEOUT = "timeout"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    # The pixels
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    # The vector
    INVALID_VECTOR = "invalid_vector"


#: Reasons that are the image's own: the same bytes give them again, whatever the flags of the job. Not tried again
#: while the image is the same.
LASTING = frozenset(
    (Reason.EMPTY, Reason.UNSUPPORTED_FORMAT, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.INVALID_VECTOR)
)
#: Reasons that may pass by themselves or with another credential. An item that was embedded before keeps its vector,
#: and the next run tries again.
TRANSIENT = frozenset((Reason.FORBIDDEN, Reason.TIMEOUT, Reason.UNREADABLE))


_ROWS_AT_ONCE = 4_096
SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("origin", pa.string()),
        pa.field("source_version", pa.string()),
    ]
)


@dataclass(frozen=True, order=True)
class Reject:
    """One rejected row. `origin` is the catalog file and row that it came from; `source_version` the version of the
    image, where the reason is a lasting one. Secrets are out of `image_uri` where it is stored."""

    item_id: str
    origin: str
    reason: str
    image_uri: str | None = None
    detail: str | None = None
    source_version: str | None = None


def _without_secrets(place: str) -> str:
    """A location as it is stored; a path that ends like a URL was one, whose scheme somebody left out."""
    return storage.redact(place) if storage.is_url(place) else re.split(r"\?[\w.-]+=", place, maxsplit=1)[0]


def rejects_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejects as they are stored, of `SCHEMA`, in the order given."""
    rows = [
        {
            "item_id": reject.item_id,
            "image_uri": _without_secrets(reject.image_uri) if reject.image_uri else None,
            "reason": reject.reason,
            "detail": storage.redact_text(reject.detail) if reject.detail else None,
            "origin": reject.origin,
            "source_version": reject.source_version,
        }
        for reject in rejects
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def read_rejects(url: str) -> pa.Table:
    """A rejects file as a table of `SCHEMA`; columns that an older file lacks are null."""
    return pa.concat_tables([SCHEMA.empty_table(), *_read_in_parts(url)])


def read_lasting(url: str) -> Iterator[pa.Table]:
    """The rejects of a file that need no second look while their image is the same: tables of `SCHEMA`, by item id."""
    lasting = pa.array(sorted(LASTING), pa.string())
    for table in _read_in_parts(url):
        wanted = pc.and_(pc.is_valid(table["source_version"]), pc.is_in(table["reason"], value_set=lasting))
        yield table.filter(wanted)


def _read_in_parts(url: str) -> Iterator[pa.Table]:
    with storage.open_read(url) as handle:
        for batch in pq.ParquetFile(handle).iter_batches(_ROWS_AT_ONCE):
            table = pa.Table.from_batches([batch])
            for field in SCHEMA:
                if field.name not in table.column_names:
                    table = table.append_column(field, pa.nulls(len(table), field.type))
            yield table.select(SCHEMA.names).cast(SCHEMA)
