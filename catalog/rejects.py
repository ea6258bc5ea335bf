"""Rejects: input rows that did not become an embedding, each with one reason of a closed set."""

from __future__ import annotations

import io
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
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    # The vector
    INVALID_VECTOR = "invalid_vector"


SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("origin", pa.string()),
    ]
)


@dataclass(frozen=True, order=True)
class Reject:
    """One rejected row. `origin` is the catalog file and row that it came from; secrets are out of `image_uri`."""

    item_id: str
    origin: str
    reason: str
    image_uri: str | None = None
    detail: str | None = None


def encode_rejects(rejects: Sequence[Reject]) -> bytes:
    """The rejects of a partition as Parquet bytes, sorted, so that the same rejects are the same bytes."""
    rows = [
        {
            "item_id": reject.item_id,
            "image_uri": storage.redact(reject.image_uri) if reject.image_uri else None,
            "reason": reject.reason,
            "detail": storage.redact_text(reject.detail) if reject.detail else None,
            "origin": reject.origin,
        }
        for reject in sorted(rejects, key=lambda r: (r.item_id, r.origin, r.reason, r.image_uri or "", r.detail or ""))
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def read_rejects(url: str) -> pa.Table:
    """A rejects file as a table of `SCHEMA`."""
    return pq.read_table(io.BytesIO(storage.read_bytes(url)))


def count_by_reason(rejects: Sequence[Reject]) -> dict[str, int]:
    """Rejects of each reason, sorted by reason."""
    return dict(sorted(Counter(str(reject.reason) for reject in rejects).items()))
