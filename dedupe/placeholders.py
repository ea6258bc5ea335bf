"""Pictures that stand for none: "no image", a logo, a blank. They are reported apart and make nothing the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# Levels between the darkest and the brightest cell of any channel of a thumbnail. A cell is the mean of a 64th of the
# picture: noise and compression hardly move it, and a thin chain on white moves it by 6. The flattest of 3,000 photos
# of goods has 60.
_NEARLY_EMPTY_RANGE = 4
NOTHING, MANY_PRODUCTS, MANY_GROUPS, NEARLY_EMPTY = 0, 1, 2, 3
REASONS = ("", "many_products", "many_groups", "nearly_empty")


@dataclass(frozen=True)
class PlaceholderRule:
    """A group is a placeholder when it spans more than `products` distinct products, or more than `groups` distinct
    values of the group column; None for any number."""

    products: int = 10
    groups: int | None = None


def nearly_empty(thumbnails: np.ndarray) -> np.ndarray:
    """bool [n] of uint8 [n, 192], 8 x 8 RGB: whether no channel varies by more than 4 of 255 levels."""
    cells = thumbnails.reshape(-1, 64, 3)
    varies = cells.max(axis=1).astype(np.int16) - cells.min(axis=1)
    return np.asarray((varies <= _NEARLY_EMPTY_RANGE).all(axis=1))


def placeholders(
    group: np.ndarray,
    product: pa.Array,
    group_value: np.ndarray,
    empty: np.ndarray,
    rule: PlaceholderRule | None = None,
) -> np.ndarray:
    """Which rows are in a placeholder, and why: what holds for a group holds for all of its rows.

    Args:
        group: int64 [n], of whole groups, as the chain guard left them.
        product: text [n]; null is no product, and counts for none.
        group_value: int32 [n]; -1 is no value, and counts for none.
        empty: bool [n], see `nearly_empty`. One such row makes its group a placeholder.

    Returns:
        int8 [n]: NOTHING, MANY_PRODUCTS, MANY_GROUPS or NEARLY_EMPTY; of several reasons the first of these.
    """
    rule = rule or PlaceholderRule()
    _, place = np.unique(group, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    codes = product.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    reason = np.zeros(count, np.int8)
    reason[np.bincount(place[empty], minlength=count) > 0] = NEARLY_EMPTY
    if rule.groups is not None:
        reason[_distinct(place, group_value, count) > rule.groups] = MANY_GROUPS
    reason[_distinct(place, codes, count) > rule.products] = MANY_PRODUCTS
    return reason[place]


def _distinct(place: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """int64 [count]: how many values other than -1 each group has."""
    known = values >= 0
    width = int(values.max(initial=0)) + 1
    pairs = np.sort(place[known].astype(np.int64) * width + values[known])
    return np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] // width, minlength=count)
