"""How many pairs have which score, by tier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dedupe.settings import TIERS

_BINS = 50


class Histogram:
    """Counts of scores from 0 to 1."""

    def __init__(self) -> None:
        self._counts = {tier: np.zeros(_BINS, np.int64) for tier in TIERS}

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables of pairs, `tier` and `score`, which are counted as they pass."""
        for table in tables:
            tiers, scores = table["tier"].to_numpy(), table["score"].to_numpy()
            for tier in TIERS:
                bins = np.minimum((scores[tiers == tier] * _BINS).astype(np.int64), _BINS - 1)
                self._counts[tier] += np.bincount(bins, minlength=_BINS)
            yield table

    def to_json(self) -> dict[str, Any]:
        """`edges`, one more than bins; `counts` by tier."""
        edges = [round(number / _BINS, 2) for number in range(_BINS + 1)]
        return {"edges": edges, "counts": {tier: counts.tolist() for tier, counts in self._counts.items()}}
