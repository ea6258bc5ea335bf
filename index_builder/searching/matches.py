"""Search results, and the answers of several servers as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from index_builder.measures import score_and_distance
from index_builder.searching.items import Items


@dataclass(frozen=True)
class Match:
    """One search result.

    Attributes:
        rank: 1 for the nearest.
        item_id: of the item.
        product_id: None where it has none.
        score: larger is nearer.
        distance: smaller is nearer.
        image_uri: None where the item came without a picture.
        metadata: the other columns of the catalog.
        row: its row number in the version.
    """

    rank: int
    item_id: str
    product_id: str | None
    score: float
    distance: float
    image_uri: str | None
    metadata: dict[str, Any]
    row: int


def matches_of(found: Iterable[tuple[int, float]], items: Items, metric: str) -> list[Match]:
    """The items of rows and of what FAISS measured, nearest first."""
    matches = []
    for rank, (row, value) in enumerate(found, start=1):
        score, distance = score_and_distance(value, metric)
        matches.append(Match(rank=rank, score=score, distance=distance, row=row, **items.item(row)))
    return matches


def merge_matches(answers: Sequence[Sequence[Match]], k: int) -> list[Match]:
    """The answers that servers of one version, each with some of its parts, gave to one query, as one answer.

    Args:
        answers: one list of matches a server, all from the same version.
        k: how many matches to keep.

    Returns:
        The nearest, of equals the lower row first, an item once, and ranked anew.
    """
    nearest: dict[int, Match] = {}
    for answer in answers:
        for match in answer:
            there = nearest.get(match.row)
            if there is None or match.distance < there.distance:
                nearest[match.row] = match
    order = sorted(nearest.values(), key=lambda match: (match.distance, match.row))
    return [replace(match, rank=rank) for rank, match in enumerate(order[:k], start=1)]
