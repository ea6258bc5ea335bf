"""The same pictures: who stands for them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dedupe.classes import Classes
from dedupe.named_pairs import pairs_of_places
from dedupe.settings import BYTES, PHASH, PIXELS

MEMBERS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 2)), min_size=1, max_size=12)


def drawn(members: list[tuple[int, int]], random) -> tuple[Classes, np.ndarray]:
    klass = np.array([each[0] for each in members], np.int64)
    rank = np.array(random.sample(range(len(members)), len(members)), np.int64)
    content = klass.astype(np.uint64) * np.uint64(2) + np.array([random.random() < 0.3 for _ in members], np.uint64)
    return Classes(klass, klass, content, rank), np.array([each[1] for each in members], np.int32)


@given(MEMBERS, st.randoms())
def test_a_centre_is_the_most_preferred_of_its_class(members, random) -> None:
    classes, groups = drawn(members, random)
    everyone = range(len(members))
    for one in everyone:
        alike = [each for each in everyone if classes.klass[each] == classes.klass[one]]
        assert classes.centres()[one] == min(alike, key=lambda each: classes.rank[each])
        others = [each for each in alike if groups[each] != groups[one]]
        wanted = min(others, key=lambda each: classes.rank[each]) if others else -1
        assert classes.centres(groups)[one] == wanted


@given(MEMBERS, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12), st.randoms())
def test_pairs_across_groups_are_of_different_groups_each_once_and_miss_no_class(members, drawn_edges, random) -> None:
    classes, groups = drawn(members, random)
    ends = [(a, b) for a, b in drawn_edges if a < b < len(members)]
    low, high = (np.array([edge[side] for edge in ends], np.int64) for side in (0, 1))
    edges = pa.table(
        {
            "tier": pa.array(np.full(len(ends), PHASH, np.int8)),
            "score": pa.array(np.ones(len(ends), np.float32)),
            **{name: pa.nulls(len(ends), pa.int16()) for name in ("hamming", "hamming_256")},
            **{name: pa.nulls(len(ends), pa.float32()) for name in ("thumbnail", "combined")},
        }
    )
    usable = np.ones(len(members), bool)
    a, b, measured = pairs_of_places(classes, edges, low, high, usable, groups)
    pairs = [tuple(sorted(pair)) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs) == len(measured)
    assert all(groups[one] != groups[other] for one, other in pairs)
    linked = {(classes.klass[one], classes.klass[other]) for one, other in ends}
    for one in range(len(members)):
        for other in range(len(members)):
            key = (classes.klass[one], classes.klass[other])
            if groups[one] != groups[other] and (key in linked or key[0] == key[1]):
                values = {(groups[x], groups[y]) for x, y in pairs if {classes.klass[x], classes.klass[y]} == set(key)}
                assert values, "two classes that have members of different groups have a pair"


def test_tiers_within_a_class_tell_bytes_pixels_and_hashes_apart() -> None:
    classes = Classes(
        pixels=np.array([0, 0, 0, 3]),
        klass=np.array([0, 0, 0, 0]),
        content=np.array([5, 5, 6, 7], np.uint64),
        rank=np.arange(4),
    )
    assert classes.tier(np.array([1, 2, 3]), np.zeros(3, np.int64)).tolist() == [BYTES, PIXELS, PHASH]
