"""Which keys two hashes share if they differ in few bits: exact, by the pigeonhole principle.

The bits are dealt to blocks. Two hashes that differ in at most `radius` bits differ in at most as many blocks, so they
agree in all the others: under one of the choices of `blocks - radius` blocks they have the same key (Manku, Jain and
Das Sarma, "Detecting Near-Duplicates for Web Crawling", 2007). More blocks make longer keys, with fewer rows each, and
more keys a row.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

_MOST_TABLES = 1_024
# To send a row to one more table costs about as much as to compare it with so many others.
_SENDING = 64
_TABLE_SHIFT = 48


@dataclass(frozen=True)
class HashPlan:
    """How hashes are looked up.

    Attributes:
        bits: of a hash.
        radius: bits that may differ.
        blocks: that the bits are dealt to, bit i (from the highest) to block i modulo `blocks`.
    """

    bits: int
    radius: int
    blocks: int

    @property
    def tables(self) -> int:
        """Keys of a row."""
        return math.comb(self.blocks, self.radius)

    @property
    def kept(self) -> np.ndarray:
        """uint64 [tables]: the blocks of each table's key, block b as bit b; in the order of `itertools`."""
        return _kept(self.blocks, self.radius)

    @property
    def gaps(self) -> np.ndarray:
        """uint64 [tables]: the blocks before a table's last one that it leaves out.

        Two hashes agree under several tables, and just one of those is made of the first blocks in which they agree:
        the one of whose gaps they differ in every one. There a pair is reported, and nowhere else.
        """
        kept = self.kept
        below = np.uint64(1) << np.floor(np.log2(np.maximum(kept, 1).astype(np.float64))).astype(np.uint64)
        return (below - np.uint64(1)) & ~kept


@functools.cache
def _kept(blocks: int, radius: int) -> np.ndarray:
    choices = itertools.combinations(range(blocks), blocks - radius)
    return np.array([sum(1 << block for block in choice) for choice in choices], np.uint64)


def plan_tables(bits: int, radius: int, rows: int) -> HashPlan:
    """The plan of least work for so many rows, as if hashes were drawn at random.

    Work is sending a row to each table and comparing it with the rows there. 10^6 hashes of 64 bits and a radius of 4
    are 15 tables of 21 bits; 10^9 are 35 tables of 27 bits and 6 rows a key.

    Raises:
        ValueError: the radius is not below the bits, or so large that more than 1,024 tables are needed.
    """
    if not 0 <= radius < bits:
        raise ValueError(f"a radius of {radius} bits, and hashes have {bits}; give one between 0 and {bits - 1}")

    def work(blocks: int) -> tuple[float, int]:
        key_bits = bits * (blocks - radius) / blocks
        return math.comb(blocks, radius) * (_SENDING + rows * 2.0**-key_bits), blocks

    choices = itertools.takewhile(
        lambda blocks: math.comb(blocks, radius) <= _MOST_TABLES, range(radius + 1, min(bits, 63) + 1)
    )
    return HashPlan(bits, radius, min(choices, key=work))


def table_keys(hashes: np.ndarray, plan: HashPlan) -> np.ndarray:
    """The keys of each hash.

    Args:
        hashes: uint8 [n, bits / 8], the highest bit first.
        plan: whose `bits` are a multiple of 8.

    Returns:
        uint64 [n, tables]: the number of the table in the 16 highest bits, below it a hash of the kept bits.
    """
    width = -(-plan.bits // 64) * 8
    padded = np.zeros((len(hashes), width), np.uint8)
    padded[:, : plan.bits // 8] = hashes
    words = padded.view(">u8").astype(np.uint64)
    keys = np.empty((len(hashes), plan.tables), np.uint64)
    for table, kept in enumerate(plan.kept.tolist()):
        mask = np.array([kept >> (bit % plan.blocks) & 1 for bit in range(width * 8)], np.uint8)
        masks = np.packbits(mask).view(">u8").astype(np.uint64)
        mixed = np.zeros(len(hashes), np.uint64)
        for word, word_mask in zip(words.T, masks, strict=True):
            mixed = _mix(mixed ^ (word & word_mask))
        keys[:, table] = np.uint64(table << _TABLE_SHIFT) | mixed >> np.uint64(64 - _TABLE_SHIFT)
    return keys


def table_of(keys: np.ndarray) -> np.ndarray:
    """int64 [n]: the number of the table of each key."""
    return (keys >> np.uint64(_TABLE_SHIFT)).astype(np.int64)


def _mix(words: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits in which each bit depends on all (the finalizer of splitmix64)."""
    words = words ^ words >> np.uint64(30)
    words = words * np.uint64(0xBF58476D1CE4E5B9)
    words = words ^ words >> np.uint64(27)
    words = words * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)
