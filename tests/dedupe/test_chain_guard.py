from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe.chain_guard import BYTES, DROPPED, KEEPER, NO_TIER, PIXELS, PROTECTED, Cover, cover

PHASH, EMBEDDING = 2, 4


def members_of(
    orders: list[bytes],
    klass: list[int],
    content: list[int] | None = None,
    group: list[int] | None = None,
    protected: list[bool] | None = None,
    after: list[bytes] | None = None,
) -> pa.Table:
    size = len(orders)
    columns: dict[str, Any] = {
        "row": pa.array(range(100, 100 + size), pa.int64()),
        "order": pa.array(orders, pa.binary()),
        "klass": pa.array(klass, pa.uint64()),
        "content": pa.array(content or klass, pa.uint64()),
        "group_value": pa.array(group or [-1] * size, pa.int32()),
        "protected": pa.array(protected or [False] * size, pa.bool_()),
    }
    if after is not None:
        columns["order_after"] = pa.array(after, pa.binary())
    return pa.table(columns)


def edges_of(edges: list[tuple[int, int, int, float]]) -> pa.Table:
    a, b, tier, score = zip(*edges, strict=True) if edges else ((), (), (), ())
    return pa.table(
        {
            "a": pa.array(a, pa.uint64()),
            "b": pa.array(b, pa.uint64()),
            "tier": pa.array(tier, pa.int8()),
            "score": pa.array(score, pa.float32()),
        }
    )


def obvious(
    members: pa.Table, edges: pa.Table, ignored: list[tuple[int, int]], across: bool
) -> list[tuple[int, int, int, int, float]]:
    """The rule as it is said, over all pairs: role, keeper, duplicate_of, tier and score of each member."""
    rows = members.to_pylist()
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for edge in edges.to_pylist():
        for pair in ((edge["a"], edge["b"]), (edge["b"], edge["a"])):
            there = best.get(pair, (99, 0.0))
            best[pair] = min(there, (edge["tier"], edge["score"]), key=lambda one: (one[0], -one[1]))

    def relation(one: dict, other: dict) -> tuple[int, float] | None:
        if across and one["group_value"] == other["group_value"]:
            return None
        if (one["row"], other["row"]) in ignored or (other["row"], one["row"]) in ignored:
            return None
        if one["klass"] == other["klass"]:
            return (BYTES if one["content"] == other["content"] else PIXELS), 1.0
        return best.get((one["klass"], other["klass"]))

    def alike(one: dict) -> float:
        others = [best.get((one["klass"], other["klass"]), (0, 0.0))[1] for other in rows]
        return sum(
            1.0 if other["klass"] == one["klass"] else score
            for other, score in zip(rows, others, strict=True)
            if other is not one
        )

    def preference(index: int) -> tuple:
        row = rows[index]
        medoid = (-alike(row), row["order_after"]) if "order_after" in row else ()
        return (row["order"], *medoid, row["row"])

    result = [[KEEPER, index, index, NO_TIER, math.nan] for index in range(len(rows))]
    kept: list[int] = []
    for index in sorted(range(len(rows)), key=preference):
        if result[index][2] != index and not rows[index]["protected"]:
            continue
        kept.append(index)
        for other in range(len(rows)):
            found = relation(rows[index], rows[other])
            if rows[other]["protected"] and result[index][2] != index:
                continue  # Who is like another keeper takes nobody who stays.
            if other not in kept and result[other][2] == other and found is not None:
                if rows[other]["protected"]:
                    result[other] = [PROTECTED, other, index, *found]
                else:
                    result[other] = [DROPPED, index, index, *found]
                    result[index][0] = KEEPER
    return [tuple(one) for one in result]  # type: ignore[misc]


def as_tuples(found: Cover) -> list[tuple[int, int, int, int, float]]:
    columns = (found.role, found.keeper, found.duplicate_of, found.tier, found.score)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def same(one: list[tuple], other: list[tuple]) -> bool:
    return repr(one) == repr(other)


@st.composite
def components(draw: st.DrawFn) -> tuple[pa.Table, pa.Table, list[tuple[int, int]], bool]:
    size = draw(st.integers(1, 12))
    klass = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    key = st.binary(max_size=2)
    keys = draw(st.lists(key, min_size=size, max_size=size))
    after = draw(st.none() | st.lists(key, min_size=size, max_size=size))
    # Eighths are exact in every type, and in the steps in which scores are added up.
    score = st.integers(1, 8).map(lambda eighth: eighth / 8)
    a_klass = st.sampled_from(klass)
    edge = st.tuples(a_klass, a_klass, st.integers(2, 4), score)
    row = st.integers(100, 100 + size)  # One of them is nobody's.
    members = members_of(
        keys,
        klass,
        [one * 2 + draw(st.integers(0, 1)) for one in klass],
        draw(st.lists(st.integers(-1, 1), min_size=size, max_size=size)),
        draw(st.lists(st.sampled_from([False, False, True]), min_size=size, max_size=size)),
        after,
    )
    ignored = draw(st.lists(st.tuples(row, row), max_size=6))
    return members, edges_of(draw(st.lists(edge, max_size=14))), ignored, draw(st.booleans())


def pairs_of(ignored: list[tuple[int, int]]) -> np.ndarray:
    return np.array(ignored, np.int64).reshape(-1, 2)


@given(components())
@settings(max_examples=400, deadline=None)
def test_the_cover_is_that_of_the_rule_over_all_pairs(
    component: tuple[pa.Table, pa.Table, list[tuple[int, int]], bool],
) -> None:
    members, edges, ignored, across = component
    assert same(as_tuples(cover(members, edges, pairs_of(ignored), across)), obvious(members, edges, ignored, across))


@given(components(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_members_and_edges_does_not_matter(
    component: tuple[pa.Table, pa.Table, list[tuple[int, int]], bool], random: Any
) -> None:
    members, edges, ignored, across = component
    mixed = random.sample(range(len(members)), len(members))
    found = cover(members, edges, pairs_of(ignored), across)
    shuffled = edges.take(pa.array(random.sample(range(len(edges)), len(edges)), pa.int64()))
    again = cover(members.take(mixed), shuffled, pairs_of(ignored), across)
    rows = members["row"].to_numpy()
    assert again.role.tolist() == found.role[mixed].tolist()
    assert rows[mixed][again.keeper].tolist() == rows[found.keeper][mixed].tolist()
    assert again.score.tolist() == pytest.approx(found.score[mixed].tolist(), nan_ok=True)


@given(components())
@settings(max_examples=100, deadline=None)
def test_who_is_dropped_is_so_for_somebody_kept_by_a_link_of_their_own(
    component: tuple[pa.Table, pa.Table, list[tuple[int, int]], bool],
) -> None:
    members, edges, ignored, across = component
    found = cover(members, edges, pairs_of(ignored), across)
    klass, group = members["klass"].to_pylist(), members["group_value"].to_pylist()
    linked = {(edge["a"], edge["b"], edge["tier"], edge["score"]) for edge in edges.to_pylist()}
    for member in np.flatnonzero(found.role == DROPPED).tolist():
        keeper = int(found.keeper[member])
        how = (found.tier[member].item(), found.score[member].item())
        ends = (klass[member], klass[keeper])
        assert found.role[keeper] == KEEPER
        assert not members["protected"][member].as_py()
        assert not {(100 + member, 100 + keeper), (100 + keeper, 100 + member)} & set(ignored)
        assert not across or group[member] != group[keeper]
        assert (how[0] in (BYTES, PIXELS) and ends[0] == ends[1]) or {(*ends, *how), (*ends[::-1], *how)} & linked


def test_a_million_equal_pictures_and_a_chain_of_a_hundred_thousand_are_walked_once() -> None:
    size, chain = 1_000_000, 100_000
    klass = np.concatenate([np.zeros(size), np.arange(1, chain + 1)]).astype(np.uint64)
    rows = np.arange(size + chain)
    key = pa.array(rows.astype(">u4").view("S4"), pa.binary())  # Keys end in zero bytes, which S4 leaves out.
    members = pa.table(
        {
            "row": rows,
            "order": key,
            "klass": klass,
            "content": rows.astype(np.uint64),
            "group_value": (rows % 3).astype(np.int32),
            "protected": np.zeros(len(rows), bool),
        }
    )
    links = [(one, one + 1, PHASH, 0.9) for one in range(chain)]
    found = cover(members, edges_of(links))
    assert found.keeper[: size + 1].tolist() == [0] * (size + 1)
    assert (found.role[size + 1 :] == DROPPED).sum() == chain // 2 - 1
    apart = cover(members.slice(0, size), edges_of([]), across=True)
    assert (apart.role == DROPPED).sum() == (rows[:size] % 3 != 0).sum()


def test_the_end_of_a_chain_is_not_dropped_for_its_beginning() -> None:
    members = members_of([b"a", b"b", b"c"], [1, 2, 3])
    found = cover(members, edges_of([(1, 2, EMBEDDING, 0.9), (2, 3, EMBEDDING, 0.9)]))
    assert found.role.tolist() == [KEEPER, DROPPED, KEEPER]
    assert found.keeper.tolist() == [0, 0, 2]


def test_of_two_edges_the_cheaper_tier_is_named() -> None:
    found = cover(members_of([b"a", b"b"], [1, 2]), edges_of([(2, 1, EMBEDDING, 0.99), (1, 2, PHASH, 0.9)]))
    assert (found.tier[1], found.score[1]) == (PHASH, np.float32(0.9))


def test_a_protected_duplicate_is_kept_and_still_spares_nobody_else() -> None:
    members = members_of([b"a", b"b", b"c"], [1, 2, 3], protected=[True, True, False])
    edges = edges_of([(1, 2, EMBEDDING, 0.9), (2, 3, EMBEDDING, 0.9)])
    found = cover(members, edges)
    assert found.role.tolist() == [KEEPER, KEEPER, DROPPED]
    assert found.duplicate_of.tolist() == [0, 0, 1]
    alone = cover(members.slice(0, 2), edges.slice(0, 1))
    assert alone.role.tolist() == [KEEPER, PROTECTED]


def test_the_medoid_is_kept_where_it_is_asked_for() -> None:
    members = members_of([b"", b"", b""], [1, 2, 3], after=[b"a", b"b", b"c"])
    found = cover(members, edges_of([(1, 2, EMBEDDING, 0.9), (2, 3, EMBEDDING, 0.9)]))
    assert found.keeper.tolist() == [1, 1, 1]


def test_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="whole components"):
        cover(members_of([b"a"], [1]), edges_of([(1, 2, PHASH, 0.9)]))


def test_nothing_is_covered_by_nothing() -> None:
    assert len(cover(members_of([], []), edges_of([])).role) == 0
