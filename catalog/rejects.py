"""Rejects: input rows that did not become an embedding, each with one reason of a closed set."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
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


def encode_rejects(rejects: Sequence[Reject]) -> bytes:
    """The rejects of a partition as Parquet bytes, sorted, so that the same rejects are the same bytes."""
    rows = [
        {
            "item_id": reject.item_id,
            "image_uri": _without_secrets(reject.image_uri) if reject.image_uri else None,
            "reason": reject.reason,
            "detail": storage.redact_text(reject.detail) if reject.detail else None,
            "origin": reject.origin,
            "source_version": reject.source_version,
        }
        for reject in sorted(rejects, key=lambda r: (r.item_id, r.origin, r.reason, r.image_uri or "", r.detail or ""))
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def read_rejects(url: str) -> pa.Table:
    """A rejects file as a table of `SCHEMA`; columns that an older file lacks are null."""
    table = pq.read_table(io.BytesIO(storage.read_bytes(url)))
    missing = [field for field in SCHEMA if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(SCHEMA.names)


def read_lasting(url: str) -> dict[str, Reject]:
    """The rejects of a file that need no second look while their image is the same, by item id."""
    rows = (Reject(**row) for row in read_rejects(url).to_pylist())
    return {row.item_id: row for row in rows if row.source_version is not None and row.reason in LASTING}


def count_by_reason(rejects: Sequence[Reject]) -> dict[str, int]:
    """Rejects of each reason, sorted by reason."""
    return dict(sorted(Counter(str(reject.reason) for reject in rejects).items()))
