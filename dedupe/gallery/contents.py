"""What a gallery is made of, and the bounds that keep its pages light."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

#: The tiers, cheapest first, by the names that `summary.json` and the reports have for them.
TIERS = ("bytes", "pixels", "phash", "thumbnail", "embedding")

# A page of data is closed by whichever comes first. 160 kB, the page itself and its scripts and styles stay below
# 300 kB, and 24 members in a row are more than anybody compares by eye.
GROUPS_A_PAGE = 40
PAIRS_A_PAGE = 50
MEMBERS_SHOWN = 24
PAGE_BYTES = 160_000
SEARCH_FILE_BYTES = 200_000
# Pages of one table end after these; the report's files have all rows.
LIST_ROWS = 500
LIST_BYTES = 200_000
# Of a text that somebody else wrote: what a page shows of it.
SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class GalleryContents:
    """A report as streams. Nothing of it is trusted to be free of markup.

    Attributes:
        summary: `items`, `kept`, `dropped`, `groups`, `duplicates`, `pairs`, `threshold`, `by_tier` (dropped items by
            tier), `placeholders`, `placeholder_items`, `unreadable`, and where known `rows` (of the catalog),
            `rejected` (a count, or counts by reason), `datasets`, `settings`, `calibration` (`points`, `chosen`,
            `expected_precision`, `curve` of [threshold, precision, recall]), `score_histogram` (`edges` and `counts`
            by tier) and `leakage` (`column`, `values`, `items` of each value, `leaking` and `pairs`, N x N, the row's
            value first).
        groups: reads the rows of `groups.parquet`, sorted by group, the keeper first: group_id, item_id, dataset,
            kept_item_id, role (keeper, dropped, protected or kept), tier, score, reason, product_id, group_value,
            label, width, height, bytes, image_uri, thumbnail (192 bytes: 8 x 8 RGB). Columns may be missing, values
            null, but for group_id and item_id.
        uncertain: pairs, the least certain first: item_id, other_item_id, tier, score, hamming, thumbnail_score,
            embedding_score, group_id, image_uri, other_image_uri, thumbnail, other_thumbnail.
        placeholders: placeholder_id, items, products, group_values, item_id, image_uri, thumbnail, why.
        conflicts: group_id, labels, items.
        picture: a small WebP or JPEG of an image by its URI, or None: it cannot be read, or there have been enough.
            Asked in the order of the pages, uncertain pairs first, and from one thread.
        unreadable: rows of the catalog that have no image: item_id, reason, detail, image_uri.
    """

    summary: Mapping[str, Any]
    groups: Callable[[], Iterator[pa.RecordBatch]]
    uncertain: Iterable[Mapping[str, Any]]
    placeholders: Iterable[Mapping[str, Any]]
    conflicts: Iterable[Mapping[str, Any]]
    picture: Callable[[str], bytes | None]
    unreadable: Iterable[Mapping[str, Any]] = ()
