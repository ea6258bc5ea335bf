"""Drawings of a gallery, as SVG inside a page: how scores are spread, and what a threshold gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dedupe.gallery.contents import TIERS
from dedupe.gallery.page import number, text

# Small, so that their letters can be read on a phone; a wide window enlarges them.
_WIDTH = 360
_LEFT, _RIGHT = 30, 350
_PANEL = 56


def histogram(edges: Sequence[float], counts: Mapping[str, Sequence[int]], threshold: float | None) -> str:
    """One panel a tier, each to the height of its own tallest bar, for tiers differ by orders of magnitude.

    Args:
        edges: of the bars, ascending, one more than counts.
        counts: pairs a bar, by tier.
        threshold: marked where it is between the edges.
    """
    tiers = [tier for tier in (*TIERS, *sorted(set(counts) - set(TIERS))) if sum(counts.get(tier, ()))]
    if not tiers or len(edges) < 2 or edges[-1] <= edges[0]:
        return "<p>No pair has a score.</p>"
    place = _scale(edges[0], edges[-1], _LEFT, _RIGHT)
    parts = []
    for row, tier in enumerate(tiers):
        base, most = (row + 1) * _PANEL, max(counts[tier])
        parts.append(f'<text x="{_LEFT}" y="{base - 43}">{text(tier)}, tallest bar {number(most)} pairs</text>')
        for low, high, count in zip(edges, edges[1:], counts[tier], strict=False):
            if count:
                tall = max(1.0, 38 * count / most)
                parts.append(
                    f'<rect class="bar" x="{place(low):.1f}" y="{base - tall:.1f}" height="{tall:.1f}" '
                    f'width="{max(0.5, place(high) - place(low) - 0.4):.1f}">'
                    f"<title>{low:.4g} to {high:.4g}: {number(count)} pairs</title></rect>"
                )
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{base}" y2="{base}"/>')
    foot = len(tiers) * _PANEL
    parts += [
        f'<text x="{_LEFT}" y="{foot + 12}">{edges[0]:.4g}</text>',
        f'<text x="{_RIGHT}" y="{foot + 12}" text-anchor="end">{edges[-1]:.4g}</text>',
        *_threshold(threshold, edges[0], edges[-1], foot),
    ]
    return _svg(foot + 28, "Pairs by score and tier", parts)


def calibration_curve(curve: Sequence[Sequence[float]], threshold: float | None) -> str:
    """Precision and recall against the threshold.

    Args:
        curve: [threshold, precision, recall], in any order; those with a null are left out.
    """
    points = sorted(tuple(point[:3]) for point in curve if None not in point[:3])
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return ""
    low, high, foot = points[0][0], points[-1][0], 130
    across, up = _scale(low, high, _LEFT, _RIGHT), _scale(0, 1, foot, 10)
    parts: list[str] = []
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{up(share):.1f}" y2="{up(share):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{up(share) + 3:.1f}" text-anchor="end">{share:g}</text>')
    for at, name in ((1, "precision"), (2, "recall")):
        line = " ".join(f"{across(point[0]):.1f},{up(point[at]):.1f}" for point in points)
        parts.append(f'<polyline class="{name}" points="{line}"/>')
        parts.append(f'<text class="{name}" x="{_LEFT + 60 * at - 56}" y="{foot - 6}">{name}</text>')
    parts += [
        f'<text x="{_LEFT}" y="{foot + 12}">{low:.4g}</text>',
        f'<text x="{_RIGHT}" y="{foot + 12}" text-anchor="end">{high:.4g}</text>',
        *_threshold(threshold, low, high, foot),
    ]
    return _svg(foot + 28, "Precision and recall by threshold", parts)


def _threshold(threshold: float | None, low: float, high: float, foot: int) -> list[str]:
    if threshold is None or not low <= threshold <= high:
        return []
    x = _scale(low, high, _LEFT, _RIGHT)(threshold)
    anchor = "start" if x < _WIDTH / 3 else "end" if x > 2 * _WIDTH / 3 else "middle"
    return [
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{foot}"/>',
        f'<text class="mark" x="{x:.1f}" y="{foot + 24}" text-anchor="{anchor}">threshold {threshold:.4g}</text>',
    ]


def _scale(low: float, high: float, start: float, end: float) -> Any:
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{text(label)}">{"".join(parts)}</svg>'
