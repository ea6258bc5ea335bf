"""The operating points that an evaluation measured, for whoever wants one of a certain recall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog import canonical_json
from catalog.errors import UsageError
from index_builder.searching.searcher import OperatingPoint

# An operating point, and its recall by depth: "1", "10".
MeasuredPoint = tuple[OperatingPoint, dict[str, float]]


def read_points(path: Path) -> list[MeasuredPoint]:
    """What an evaluation measured, cheapest first."""
    return canonical_json.parse(
        path.read_bytes(),
        str(path),
        lambda value: [(OperatingPoint.from_json(each), dict(each["recall"])) for each in value["points"]],
    )


def cheapest(points: Sequence[MeasuredPoint], recall_target: float, version: str) -> OperatingPoint:
    """The first of the points of a version whose recall@10 reaches a target.

    Raises:
        UsageError: none does; the sentence names the best there is.
    """
    for point, recall in points:
        if recall["10"] >= recall_target:
            return point
    if not points:
        raise UsageError(f"version {version} has no measured operating points")
    point, recall = max(points, key=lambda each: each[1]["10"])
    raise UsageError(
        f"version {version} reaches no recall@10 of {recall_target:g}; its best is {recall['10']:g}, at nprobe "
        f"{point.nprobe}"
    )
