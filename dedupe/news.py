"""What is new since an earlier report: the items that pairs are looked for, where not all of them are compared anew.

An item is new unless the earlier report has it with the same picture: then all that it could be paired with was
compared with it, or is new itself.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dedupe.earlier import Earlier
from dedupe.job import Layout, Stretch
from dedupe.picture_words import STATE, read_state


def is_new(layout: Layout, stretch: Stretch) -> np.ndarray:
    """bool [n]: whether each item has to be compared with all others. The state of the stretch must be written."""
    if layout.job.earlier is None:
        return np.ones(stretch.rows, bool)
    earlier = Earlier.read(layout.job.earlier)
    before = _before(earlier, layout, stretch)
    now = read_state(layout.job.state, stretch)
    order = np.argsort(before["item"].to_numpy())
    items = before["item"].to_numpy()[order]
    item = now["item"].to_numpy()
    place = np.minimum(np.searchsorted(items, item), max(0, len(items) - 1))
    known = np.zeros(len(item), bool)
    if len(items):
        known = items[place] == item
        for name in ("klass", "signature"):
            mine, there = now[name], before[name].take(pa.array(order)).take(pa.array(place))
            known &= np.asarray(mine.is_null()) == np.asarray(there.is_null())
            known &= mine.fill_null(0).to_numpy() == there.fill_null(0).to_numpy()
    # Of a vector without a picture nothing tells whether it changed.
    return ~known | np.asarray(now["klass"].is_null())


def _before(earlier: Earlier, layout: Layout, stretch: Stretch) -> pa.Table:
    """The state of all earlier rows that may be items of a stretch."""
    there, here = earlier.partitions[stretch.source], layout.snapshots[stretch.source].partitions
    # With twice the partitions, one splits into itself and the one that is as many further.
    fewer = min(there, here)
    residues = {partition % fewer for partition in range(stretch.first, stretch.last)}
    tables = [STATE.empty_table()]
    for each in earlier.stretches:
        if each.source == stretch.source:
            wanted = [number for number in range(each.first, each.last) if number % fewer in residues]
            tables.append(read_state(earlier.state, each, wanted))
    return pa.concat_tables(tables)
