"""All pairs of 64-bit hashes that differ in few bits, in memory, comparing all with all only where nothing is saved.

Small groups are compared whole. A large one is cut by keys over the bits in which its hashes differ at all, and its
parts again, as long as that saves work; where it does not, so many are near one another that comparing is the least.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dedupe.hash_plan import plan_tables

#: Hashes of a group that are compared with one another as they are.
SMALL = 1_024
_TILE = 1_024
_YIELDED = 1 << 20
_GATHERED = 1 << 16

Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


def near_pairs(hashes: np.ndarray, groups: np.ndarray, radius: int) -> Pairs:
    """Places of hashes of one group that differ in at most `radius` bits, each pair once, in pieces.

    Args:
        hashes: uint64 [n].
        groups: int64 [n], ascending.
        radius: in bits.

    Yields:
        int64 [m] and int64 [m], of each pair the places.
    """
    limits, large = _small_and_large(groups)
    yield from gathered(_within(hashes, limits, radius))
    for begin, end in large:
        for a, b in gathered(_near(hashes[begin:end], radius)):
            yield begin + a, begin + b


def gathered(pairs: Pairs) -> Pairs:
    """The same pairs in pieces of 65,536 or more, for what costs more a piece than a pair."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    held = 0
    for pair in pairs:
        waiting.append(pair)
        held += len(pair[0])
        if held >= _GATHERED:
            yield _joined(waiting)
            waiting, held = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def _small_and_large(groups: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Of each place of a sorted array, where its group ends if that is small (int64 [n]), else a place not after it;
    of each large group where it begins and ends."""
    changes = np.flatnonzero(groups[1:] != groups[:-1]) + 1
    begins, ends = np.append(0, changes), np.append(changes, len(groups))
    sizes = ends - begins
    limits = np.repeat(np.where(sizes <= SMALL, ends, begins), sizes)
    large = sizes > SMALL
    return limits, list(zip(begins[large].tolist(), ends[large].tolist(), strict=True))


def differing_blocks(differences: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """uint64 [n]: block b as bit b, whether a difference (uint64 [n]) has a bit of that block's mask."""
    blocks = np.zeros(len(differences), np.uint64)
    for block, mask in enumerate(masks):
        blocks |= (differences & mask != 0).astype(np.uint64) << np.uint64(block)
    return blocks


def _within(hashes: np.ndarray, limits: np.ndarray, radius: int) -> Pairs:
    """Near pairs of a place and a later one below its limit: all places with their next, with the one after it, …"""
    active = np.flatnonzero(np.arange(len(hashes)) + 1 < limits)
    step = 1
    while len(active):
        near = active[np.bitwise_count(hashes[active] ^ hashes[active + step]) <= radius]
        if len(near):
            yield near, near + step
        step += 1
        active = active[active + step < limits[active]]


def _near(hashes: np.ndarray, radius: int) -> Pairs:
    """As `near_pairs`, of one large group."""
    different, number, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.argsort(number, kind="stable")
    begins = np.cumsum(counts) - counts
    limits, large = _small_and_large(number[members])
    yield from ((members[a], members[b]) for a, b in _within(hashes[members], limits, radius))
    for begin, end in large:
        yield from ((members[begin + a], members[begin + b]) for a, b in _all_pairs(end - begin))
    for a, b in gathered(_near_different(different, radius)):
        # Every row of the one with every row of the other.
        repeats = counts[a] * counts[b]
        for piece in np.split(np.arange(len(a)), np.flatnonzero(np.diff(np.cumsum(repeats) // _YIELDED)) + 1):
            times = repeats[piece]
            pair = np.repeat(piece, times)
            within = np.arange(len(pair)) - np.repeat(np.cumsum(times) - times, times)
            left, right = np.divmod(within, counts[b[pair]])
            yield members[begins[a[pair]] + left], members[begins[b[pair]] + right]


def _near_different(hashes: np.ndarray, radius: int) -> Pairs:
    """As `_near`, of hashes that are all different."""
    count = len(hashes)
    if count <= SMALL:
        yield from _within(hashes, np.full(count, count), radius)
        return
    masks, kept, gaps = _cut(hashes, radius)
    keys = [_mask_of(masks, int(blocks)) for blocks in kept]
    if sum(_comparisons(hashes & key) for key in keys) > count * (count - 1) / 4:
        for a, b in _all_pairs(count):
            near = np.bitwise_count(hashes[a] ^ hashes[b]) <= radius
            yield a[near], b[near]
        return
    for key, wanted, gap in zip(keys, kept, gaps, strict=True):
        parts = hashes & key
        order = np.argsort(parts, kind="stable")
        limits, large = _small_and_large(parts[order])
        for a, b in gathered(_within(hashes[order], limits, radius)):
            yield _first_found(hashes, order[a], order[b], masks, wanted, gap)
        for begin, end in large:
            places = order[begin:end]
            for a, b in gathered(_near_different(hashes[places], radius)):
                yield _first_found(hashes, places[a], places[b], masks, wanted, gap)


def _first_found(
    hashes: np.ndarray, a: np.ndarray, b: np.ndarray, masks: np.ndarray, kept: np.uint64, gaps: np.uint64
) -> tuple[np.ndarray, np.ndarray]:
    blocks = differing_blocks(hashes[a] ^ hashes[b], masks)
    here = (blocks & kept == 0) & (~blocks & gaps == 0)
    return a[here], b[here]


def _cut(hashes: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint64 [blocks] the bits of each block, [tables] the blocks of each key and those it leaves out before its last;
    no tables where all hashes are within the radius."""
    bits = np.uint64(1) << np.arange(64, dtype=np.uint64)
    ones = np.array([np.count_nonzero(hashes & bit) for bit in bits])
    varying = np.flatnonzero((ones > 0) & (ones < len(hashes)))
    if len(varying) <= radius:
        # One key of no bits: all are compared.
        return np.zeros(1, np.uint64), np.ones(1, np.uint64), np.zeros(1, np.uint64)
    plan = plan_tables(len(varying), radius, len(hashes))
    # Those that say most are dealt first, so that blocks say about equally much.
    order = bits[varying[np.argsort(np.abs(2 * ones[varying] - len(hashes)), kind="stable")]]
    masks = np.array([np.bitwise_or.reduce(order[block :: plan.blocks]) for block in range(plan.blocks)], np.uint64)
    return masks, plan.kept, plan.gaps


def _mask_of(masks: np.ndarray, blocks: int) -> np.uint64:
    chosen = [mask for block, mask in enumerate(masks) if blocks >> block & 1]
    return np.bitwise_or.reduce(np.array(chosen, np.uint64))


def _comparisons(keys: np.ndarray) -> float:
    """Pairs of equal keys."""
    counts = np.unique(keys, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def _all_pairs(count: int) -> Pairs:
    """Every pair of `count` places, in tiles."""
    for top in range(0, count, _TILE):
        bottom = min(top + _TILE, count)
        a, b = np.triu_indices(bottom - top, 1)
        yield top + a, top + b
        for left in range(bottom, count, _TILE):
            rows, columns = np.arange(top, bottom), np.arange(left, min(left + _TILE, count))
            yield np.repeat(rows, len(columns)), np.tile(columns, len(rows))
