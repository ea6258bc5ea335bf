"""Reports that the tests and the benchmark make: groups of known members, tiers and scores."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dedupe.gallery.contents import TIERS, GalleryContents
from tests.conftest import draw_picture

GROUP_SCHEMA = pa.schema(
    [
        ("group_id", pa.string()),
        ("item_id", pa.string()),
        ("dataset", pa.string()),
        ("kept_item_id", pa.string()),
        ("role", pa.string()),
        ("tier", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
        ("product_id", pa.string()),
        ("group_value", pa.string()),
        ("label", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("image_uri", pa.string()),
        ("thumbnail", pa.binary(192)),
    ]
)


def thumbnail(seed: object) -> bytes:
    """192 bytes that are the same for the same seed."""
    return hashlib.sha512(str(seed).encode()).digest() * 3


def webp(uri: str) -> bytes:
    """A picture of 96 x 80 pixels, another one for another URI."""
    buffer = io.BytesIO()
    draw_picture(int(hashlib.sha256(uri.encode()).hexdigest()[:8], 16), (96, 80)).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def member(group: str, item: str, **changes: Any) -> dict[str, Any]:
    """A row of a group, a keeper's unless told otherwise."""
    row = {
        "group_id": group,
        "item_id": item,
        "kept_item_id": item,
        "role": "keeper",
        "reason": "most pixels",
        "image_uri": f"gs://shop/{item}.jpg",
        "thumbnail": thumbnail(item),
        "width": 640,
        "height": 480,
        "bytes": 81_234,
    }
    return dict.fromkeys(GROUP_SCHEMA.names) | row | changes


def dropped(group: str, item: str, keeper: str, tier: str, score: float | None, **changes: Any) -> dict[str, Any]:
    """A row of a group that is not kept."""
    told = {"role": "dropped", "kept_item_id": keeper, "tier": tier, "score": score}
    return member(group, item, **{"reason": f"same {tier} as {keeper}", **told, **changes})


def pair(one: str, other: str, score: float = 0.91, **changes: Any) -> dict[str, Any]:
    """An uncertain pair."""
    return {
        "item_id": one,
        "other_item_id": other,
        "tier": "embedding",
        "score": score,
        "hamming": 12,
        "thumbnail_score": score - 0.01,
        "embedding_score": score + 0.01,
        "group_id": None,
        "image_uri": f"gs://shop/{one}.jpg",
        "other_image_uri": f"gs://shop/{other}.jpg",
        "thumbnail": thumbnail(one),
        "other_thumbnail": thumbnail(other),
        **changes,
    }


@dataclass(frozen=True)
class Report:
    """What a gallery is made of, with its groups as plain rows beside."""

    rows: Sequence[dict[str, Any]]
    uncertain: Sequence[dict[str, Any]] = ()
    placeholders: Sequence[dict[str, Any]] = ()
    conflicts: Sequence[dict[str, Any]] = ()
    unreadable: Sequence[dict[str, Any]] = ()
    pictures: int = 0
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each group, in their order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault(row["group_id"], []).append(row)
        return found

    def batches(self, rows_at_once: int = 1_000) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(self.rows), rows_at_once):
            yield pa.RecordBatch.from_pylist(list(self.rows[start : start + rows_at_once]), GROUP_SCHEMA)

    def contents(self) -> GalleryContents:
        left = self.pictures

        def picture(uri: str) -> bytes | None:
            nonlocal left
            left -= 1
            return webp(uri) if left >= 0 else None

        return GalleryContents(
            {**summary_of(self), **self.summary},
            self.batches,
            iter(self.uncertain),
            iter(self.placeholders),
            iter(self.conflicts),
            picture,
            iter(self.unreadable),
        )


def summary_of(report: Report, others: int = 1_000) -> dict[str, Any]:
    """Counts that add up, of a catalog with `others` items in no group."""
    items, tiers = len(report.rows) + others, Counter(row["tier"] for row in report.rows if row["role"] == "dropped")
    gone = sum(tiers.values())
    edges = [round(0.5 + 0.02 * step, 2) for step in range(26)]
    scores = {
        tier: [row["score"] for row in report.rows if row["tier"] == tier and row["score"] is not None]
        for tier in TIERS
    }
    return {
        "rows": items + len(report.unreadable),
        "items": items,
        "kept": items - gone,
        "dropped": gone,
        "groups": len(report.groups),
        "duplicates": gone,
        "pairs": gone + len(report.uncertain),
        "threshold": 0.9,
        "by_tier": {tier: tiers[tier] for tier in TIERS},
        "placeholders": len(report.placeholders),
        "placeholder_items": sum(row["items"] for row in report.placeholders),
        "unreadable": len(report.unreadable),
        "rejected": dict(Counter(row["reason"] for row in report.unreadable)),
        "datasets": ["shop"],
        "settings": {"threshold": 0.9, "keeper": ["pixels", "bytes"]},
        "calibration": None,
        "score_histogram": {
            "edges": edges,
            "counts": {tier: np.histogram(found, edges)[0].tolist() for tier, found in scores.items()},
        },
        "leakage": None,
    }


def many_groups(groups: int, members: int = 4, seed: int = 0) -> Report:
    """Groups of 2 to 2 x `members` - 2 items in two splits, by all tiers, scores of 0.8 to 1, and uncertain pairs."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(groups):
        group = f"g{number:06d}"
        keeper = f"sku-{number:06d}-0"
        value = ("train", "test")[number % 2]
        rows.append(member(group, keeper, group_value=value, label=f"label {number % 7}", product_id=f"p{number}"))
        for at in range(1, int(rng.integers(2, 2 * members - 1))):
            tier = TIERS[int(rng.integers(len(TIERS)))]
            score = None if tier in ("bytes", "pixels") else round(float(rng.uniform(0.8, 1)), 4)
            side = ("train", "test")[int(rng.integers(2))] if number % 5 == 0 else value
            rows.append(dropped(group, f"sku-{number:06d}-{at}", keeper, tier, score, group_value=side))
    uncertain = [pair(f"sku-{number:06d}-0", f"sku-{number:06d}-1", 0.9 + number / 1e5) for number in range(130)]
    return Report(rows, uncertain[:groups])


#: Texts that would do something, or look like something else, where they were not shown as they are.
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\"quoted\" 'twice' & &amp; `${document.title}`",
    "two\nlines\r\nand\ttabs, and,commas",
    "\u202ereversed\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "emoji \U0001f9f6\U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2028 separators",
    "javascript:document.title='owned'//\\",
)


def hostile_report() -> Report:
    """Every text of the report is one of `HOSTILE`, in some order."""
    rows, uncertain = [], []
    for number, text in enumerate(HOSTILE):
        other = HOSTILE[(number + 1) % len(HOSTILE)]
        texts = dict.fromkeys(("reason", "product_id", "group_value", "label", "dataset", "image_uri"), other)
        rows += [
            member(f"{number} {text}", text, **texts),
            dropped(f"{number} {text}", f"{text}{number}", text, "phash", 0.93, **texts),
        ]
        uncertain.append(pair(text, other, group_id=f"{number} {text}", image_uri=other, tier=text))
    placeholders = [
        {"placeholder_id": text, "items": 3, "products": 2, "item_id": text, "image_uri": text, "why": text}
        for text in HOSTILE
    ]
    values = list(HOSTILE)
    square = [[1] * len(values)] * len(values)
    return Report(
        rows,
        uncertain,
        placeholders,
        [{"group_id": text, "labels": values, "items": 2} for text in HOSTILE],
        [{"item_id": text, "reason": text, "detail": text, "image_uri": text} for text in HOSTILE],
        summary={
            "datasets": values,
            "settings": dict.fromkeys(values, values),
            "leakage": {"column": HOSTILE[0], "values": values, "items": [9] * 7, "leaking": square, "pairs": square},
            "calibration": {
                "points": {text: {"threshold": 0.9, "precision": 0.9, "recall": 0.9} for text in values},
                "chosen": HOSTILE[1],
                "expected_precision": 0.9,
                "curve": [[0.5, 0.5, 1.0], [1.0, 1.0, 0.5]],
            },
        },
    )


def whole_report(groups: int = 100, pictures: int = 20) -> Report:
    """A report with something on every page."""
    made = many_groups(groups)
    return Report(
        made.rows,
        made.uncertain,
        [
            {
                "placeholder_id": "ph-1",
                "items": 120,
                "products": 80,
                "group_values": 5,
                "item_id": "empty-1",
                "image_uri": "gs://shop/empty.jpg",
                "thumbnail": b"\xff" * 192,
                "why": "one picture under 80 products",
            }
        ],
        [{"group_id": "g000003", "labels": ["shoe", "boot"], "items": 4}],
        [{"item_id": "cut-1", "reason": "truncated", "detail": "ends early", "image_uri": "gs://shop/cut.jpg"}],
        pictures,
        {
            "leakage": {
                "column": "split",
                "values": ["train", "test"],
                "items": [1_000, 500],
                "leaking": [[40, 12], [10, 30]],
                "pairs": [[50, 13], [13, 31]],
            },
            "calibration": {
                "points": {"P90": {"threshold": 0.85, "precision": 0.91, "recall": 0.95}},
                "chosen": "P90",
                "expected_precision": 0.91,
                "curve": [[0.5 + step / 50, 0.5 + step / 50, 1 - step / 50] for step in range(26)],
            },
        },
    )
