"""A split of a dataset without leaks: items that are linked by duplicates go to one split, all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np

from catalog.errors import UsageError
from catalog.partition import item_hashes

# Of nothing else: partitions are dealt by the same hash with seed 0, and must not be a split each.
_SEED = 0x51_17


@dataclass(frozen=True)
class SplitRatios:
    """Named shares that add up to one."""

    names: tuple[str, ...]
    shares: tuple[Fraction, ...]

    @classmethod
    def parse(cls, text: str, flag: str = "--splits") -> SplitRatios:
        """Reads `train=0.8,val=0.1,test=0.1`. Raises UsageError."""
        names, shares = [], []
        for part in text.split(","):
            name, _, share = (piece.strip() for piece in part.partition("="))
            try:
                names.append(name)
                shares.append(Fraction(share))
            except (ValueError, ZeroDivisionError):
                raise UsageError(f"{flag}: {part!r} must be a name and its share, as in train=0.8") from None
        if not all(names) or len(set(names)) < len(names):
            raise UsageError(f"{flag} {text}: every split needs a name of its own, as in train=0.9,test=0.1")
        if min(shares) <= 0 or sum(shares) != 1:
            raise UsageError(f"{flag} {text}: shares must be above 0 and add up to 1, not {float(sum(shares)):g}")
        return cls(tuple(names), tuple(shares))


def assign(keys: Iterable[str], ratios: SplitRatios, seed: int = 0) -> np.ndarray:
    """int8 [n]: the split of each component, by the hash of its key alone. The first item id of a component is a good
    key: a component that did not change stays in its split, whatever else is new."""
    bounds = list(accumulate(ratios.shares))[:-1]
    edges = np.array([int(bound * (1 << 64)) for bound in bounds], np.uint64)
    return np.searchsorted(edges, item_hashes(keys, _SEED + seed), side="right").astype(np.int8)


@dataclass(frozen=True)
class ExpectedSize:
    """How many items a split is expected to have, and the standard deviation of that number."""

    name: str
    items: float
    deviation: float


def expected_sizes(ratios: SplitRatios, items: int, squares: int) -> list[ExpectedSize]:
    """What `assign` gives on average over seeds. A large component goes to one split whole, so that sizes deviate more.

    Args:
        items: of all components, single items included.
        squares: the sum over all components of their number of items squared; `items` where all are single.
    """
    return [
        ExpectedSize(name, float(share * items), math.sqrt(share * (1 - share) * squares))
        for name, share in zip(ratios.names, ratios.shares, strict=True)
    ]
