"""The first page: counts that add up, scores, the threshold, and where to go next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from catalog import storage
from dedupe.gallery.contents import TIERS
from dedupe.gallery.drawings import calibration_curve, histogram
from dedupe.gallery.page import foreign, number, page, table, text

_TILES = ("items", "kept", "dropped", "groups", "duplicates", "pairs", "placeholders", "unreadable")


def summary_page(summary: Mapping[str, Any], uncertain: int, pictures: int) -> str:
    """The page.

    Args:
        summary: see `GalleryContents`.
        uncertain: pairs to review.
        pictures: files that the gallery has.
    """
    parts = [
        _tiles(summary),
        f"<h2>Every row is in one place</h2>\n<ul>{_sums(summary)}</ul>",
        f"<h2>Next</h2>\n<ul>{_next(summary, uncertain)}</ul>",
        f"<h2>Dropped, by the cheapest tier that found them</h2>\n{_tiers(summary)}",
        f"<h2>Scores of pairs</h2>\n{_scores(summary)}",
        f"<h2>Threshold</h2>\n{_threshold(summary)}",
    ]
    if summary.get("datasets"):
        names = "".join(f"<li>{foreign(name)}</li>" for name in summary["datasets"])
        parts.append(f"<h2>Data sets</h2>\n<ul>{names}</ul>")
    settings = json.dumps(summary.get("settings") or {}, indent=2, ensure_ascii=False, default=str)
    parts.append(f"<h2>Settings</h2>\n<pre>{text(storage.redact_text(settings))}</pre>")
    parts.append(
        f'<p class="soft">{number(pictures)} pictures are part of this report; where there is none, an image of 8 x 8 '
        "pixels stands for it.</p>"
    )
    heading = f"{number(summary.get('dropped'))} of {number(summary.get('items'))} items can go"
    return page("index.html", heading, "\n".join(parts))


def _tiles(summary: Mapping[str, Any]) -> str:
    tiles = (f'<div class="tile" data-count="{name}"><b>{number(summary.get(name))}</b>{name}</div>' for name in _TILES)
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _sums(summary: Mapping[str, Any]) -> str:
    items, unreadable = summary.get("items") or 0, summary.get("unreadable") or 0
    rows = summary.get("rows", items + unreadable)
    kept, dropped = summary.get("kept") or 0, summary.get("dropped") or 0
    return (
        _sum(rows, "rows of the catalog", {"items": items, "unreadable": unreadable})
        + _sum(items, "items", {"kept": kept, "dropped": dropped})
        + _sum(dropped, "dropped", _by_tier(summary))
    )


def _sum(whole: int, name: str, parts: Mapping[str, int]) -> str:
    told = " + ".join(f"{number(count)} {text(part)}" for part, count in parts.items())
    off = sum(parts.values()) - whole
    verdict = f'<span class="bad">off by {number(off)}</span>' if off else '<span class="good">✓</span>'
    return f"<li>{number(whole)} {text(name)} = {told or 0} {verdict}</li>\n"


def _by_tier(summary: Mapping[str, Any]) -> dict[str, int]:
    given = summary.get("by_tier") or {}
    return {tier: given.get(tier) or 0 for tier in (*TIERS, *sorted(set(given) - set(TIERS)))}


def _next(summary: Mapping[str, Any], uncertain: int) -> str:
    steps = []
    if uncertain:
        steps.append(f'<a href="uncertain.html">Review the {number(uncertain)} least certain pairs</a> and export them')
    steps.append(f'<a href="groups.html">Look through {number(summary.get("groups"))} groups</a>')
    if summary.get("leakage"):
        column = foreign(summary["leakage"].get("column"))
        steps.append(
            f'<a href="leakage.html">What crosses {column}</a>, <a href="groups.html#cross=1">group by group</a>'
        )
    if summary.get("placeholders"):
        told = f"{number(summary['placeholders'])} placeholders under {number(summary.get('placeholder_items'))} items"
        steps.append(f'<a href="placeholders.html">{told}</a>')
    if summary.get("unreadable"):
        steps.append(f'<a href="unreadable.html">{number(summary["unreadable"])} rows without a readable image</a>')
    return "".join(f"<li>{step}</li>\n" for step in steps)


def _tiers(summary: Mapping[str, Any]) -> str:
    dropped = summary.get("dropped") or 0
    rows = [
        (f'<a href="groups.html#tier={text(tier)}">{text(tier)}</a>', number(count), _share(count, dropped))
        for tier, count in _by_tier(summary).items()
    ]
    return table(("tier", "#dropped", "#share"), rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _scores(summary: Mapping[str, Any]) -> str:
    found = summary.get("score_histogram") or {}
    return histogram(found.get("edges") or (), found.get("counts") or {}, summary.get("threshold"))


def _threshold(summary: Mapping[str, Any]) -> str:
    threshold, calibration = summary.get("threshold"), summary.get("calibration")
    told = f"<p>Pairs count from a score of {_decimal(threshold)} on.</p>"
    if not calibration:
        return f"{told}<p>It was given, and not calibrated on images of this catalog.</p>"
    chosen = calibration.get("chosen")
    rows = [
        (
            text(name) + (" (chosen)" if name == chosen else ""),
            *(_decimal((point or {}).get(key)) for key in ("threshold", "precision", "recall")),
        )
        for name, point in (calibration.get("points") or {}).items()
    ]
    expected = calibration.get("expected_precision")
    if expected is not None:
        told += f"<p>Expected precision: {_decimal(expected)}, from edits made of images of this catalog.</p>"
    points = table(("point", "#threshold", "#precision", "#recall"), rows) if rows else ""
    return told + points + calibration_curve(calibration.get("curve") or (), threshold)


def _decimal(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "–"
