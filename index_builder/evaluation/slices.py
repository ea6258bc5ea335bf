"""Recall by category, vendor or any other column: a part of the catalog where search fails is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from index_builder.evaluation.recall import interval, mean_share
from index_builder.searching.items import Items

# Of fewer queries, an interval says nothing.
LEAST_QUERIES = 30
MOST_VALUES = 50
# Columns of the metadata that are looked at, whatever the case of their names.
COLUMNS = ("category", "vendor")


@dataclass(frozen=True)
class Slice:
    """The queries whose items have one value in a column, None being a value too: how many they are, their recall@10
    and its 95 % confidence interval."""

    column: str
    value: str | None
    queries: int
    recall: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}


def slice_recall(shares: np.ndarray, columns: Mapping[str, Sequence[str | None]]) -> list[Slice]:
    """Recall of each value of each column that has at least 30 queries, for the 50 most frequent; the worst first.

    Args:
        shares: float64 [q], the share of its neighbours that each query found; NaN for a query that is left out.
        columns: for each column its values, one a query.

    Raises:
        ValueError: a column has more or fewer values than there are queries.
    """
    slices = []
    for column, values in columns.items():
        if len(values) != len(shares):
            raise ValueError(f"column {column} has {len(values)} values for {len(shares)} queries")
        kept = np.isfinite(shares)
        counts = Counter(value for value, counted in zip(values, kept, strict=True) if counted)
        most = sorted(counts.items(), key=lambda pair: (-pair[1], _order(pair[0])))[:MOST_VALUES]
        for value, queries in most:
            if queries >= LEAST_QUERIES:
                some = shares[np.array([each == value for each in values]) & kept]
                slices.append(Slice(column, value, queries, mean_share(some), interval(some)))
    return sorted(slices, key=lambda each: (each.recall, each.column, _order(each.value)))


def _order(value: str | None) -> tuple[bool, str]:
    return value is not None, value or ""


def columns_of(items: Items, rows: np.ndarray) -> dict[str, list[str | None]]:
    """For each of `COLUMNS` that the items have, its values in `rows` int64 [q], as text."""
    columns: dict[str, list[str | None]] = {}
    for place, row in enumerate(rows.tolist()):
        for name, value in (items.item(row)["metadata"] or {}).items():
            if name.lower() in COLUMNS:
                columns.setdefault(name, [None] * len(rows))[place] = None if value is None else str(value)
    return columns
