"""The pairs of all buckets together are those of comparing all rows with all, for any plan and order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dedupe import hash_guard, near_hashes
from dedupe.hash_plan import HashPlan
from dedupe.multi_index import NEIGHBOURS, PAIRS, join_bucket, plan_tables, table_keys

RADIUS_256 = 20


def drawn_rows(count: int, seed: int, distinct: int = 10) -> pa.Table:
    """Rows that are versions of a few pictures: of a few bits and levels apart, and some equal."""
    random = np.random.default_rng(seed)
    base = random.integers(0, 256, (distinct, 192), np.uint8)
    base[0] = 255  # Says nothing.
    hashes = random.integers(0, 2**64, distinct, np.uint64)
    long = [random.bytes(32) for _ in range(distinct)]
    rows = []
    for _ in range(count):
        which = int(random.integers(distinct))
        thumbnail, phash, phash_256 = base[which].copy(), int(hashes[which]), int.from_bytes(long[which], "big")
        for bit in random.choice(64, int(random.integers(0, 5))):
            phash ^= 1 << int(bit)
        for bit in random.choice(256, int(random.integers(0, 15))):
            phash_256 ^= 1 << int(bit)
        if random.random() < 0.3:
            thumbnail = base[int(random.integers(distinct))]
        rows.append((thumbnail.tobytes(), phash, None if random.random() < 0.2 else phash_256.to_bytes(32, "big")))
    rows = [rows[int(random.integers(count))] if random.random() < 0.3 else row for row in rows]
    klass = list(range(count))
    for row in range(1, count):
        twin = int(random.integers(row))
        if rows[twin] == rows[row] and random.random() < 0.5:
            klass[row] = klass[twin]
    return pa.table(
        {
            "row": pa.array(random.permutation(count * 3)[:count]),
            "klass": pa.array(np.array(klass, np.uint64) * np.uint64(2**58 + 7)),
            "new": pa.array(random.random(count) < 0.4),
            "phash": pa.array([phash for _, phash, _ in rows], pa.uint64()),
            "phash_256": pa.array([phash_256 for _, _, phash_256 in rows], pa.binary(32)),
            "thumbnail": pa.array([thumbnail for thumbnail, _, _ in rows], pa.binary(192)),
        }
    )


def brute_pairs(rows: pa.Table, radius: int) -> list[tuple[int, int, int, int | None, bool]]:
    """Every row against every other, by the words of `join_bucket`."""
    classes: dict[int, dict] = {}
    for row in sorted(rows.to_pylist(), key=lambda row: row["row"]):
        if hash_guard.tells(np.frombuffer(row["thumbnail"], np.uint8)[None])[0]:
            classes.setdefault(row["klass"], row | {"new": False})["new"] |= row["new"]
    pictures: dict[tuple, list[dict]] = {}
    for row in classes.values():
        pictures.setdefault((row["phash"], row["phash_256"], row["thumbnail"]), []).append(row)
    pairs = []
    for (_, phash_256, _), (lowest, *others) in pictures.items():
        apart = None if phash_256 is None else 0
        pairs += [(lowest["row"], row["row"], 0, apart, True) for row in others]
    for a, b in itertools.combinations(pictures.values(), 2):
        hamming = (a[0]["phash"] ^ b[0]["phash"]).bit_count()
        apart = None
        if a[0]["phash_256"] is not None and b[0]["phash_256"] is not None:
            apart = sum((x ^ y).bit_count() for x, y in zip(a[0]["phash_256"], b[0]["phash_256"], strict=True))
        left, right = (np.frombuffer(side[0]["thumbnail"], np.uint8).astype(float) for side in (a, b))
        correlation = np.corrcoef(left, right)[0, 1]
        if (
            hamming <= radius
            and (apart is None or apart <= RADIUS_256)
            and correlation >= hash_guard.LEAST_CORRELATION
            and any(row["new"] for row in a + b)
        ):
            pairs.append((*sorted((a[0]["row"], b[0]["row"])), hamming, apart, False))
    return sorted(pairs)


def joined(rows: pa.Table, plan: HashPlan, buckets: int, seed: int = 0) -> list[tuple[int, int, int, int | None, bool]]:
    """The pairs of all buckets, each of which has its entries shuffled."""
    hashes = rows["phash"].to_numpy().astype(">u8").view(np.uint8).reshape(-1, 8)
    keys = table_keys(hashes, plan)
    assert keys.shape == (len(rows), plan.tables)
    entries = rows.take(pa.array(np.repeat(np.arange(len(rows)), plan.tables)))
    entries = entries.append_column("key", pa.array(keys.reshape(-1)))
    entries = entries.take(pa.array(np.random.default_rng(seed).permutation(len(entries))))
    found = []
    for bucket in range(buckets):
        part = entries.filter(pa.array(entries["key"].to_numpy() % np.uint64(buckets) == bucket))
        pairs = join_bucket(part, plan, RADIUS_256)
        assert pairs.schema == PAIRS
        found += [tuple(pair.values()) for pair in pairs.to_pylist()]
    return sorted(found)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 10_000), st.integers(0, 8), st.integers(1, 5), st.integers(1, 4))
def test_the_pairs_are_those_of_brute_force(count: int, seed: int, radius: int, more: int, buckets: int) -> None:
    rows = drawn_rows(count, seed)
    plan = HashPlan(64, radius, radius + more)
    assert joined(rows, plan, buckets, seed) == brute_pairs(rows, radius)


@pytest.mark.parametrize("radius", [0, 4, 8])
def test_drawn_rows_have_pairs_of_every_kind(radius: int) -> None:
    rows = drawn_rows(300, 3)
    pairs = joined(rows, plan_tables(64, radius, 300), 3)
    assert pairs == brute_pairs(rows, radius)
    assert {hamming for _, _, hamming, *_ in pairs} == set(range(radius + 1))
    assert {apart is None for *_, apart, _ in pairs} == {True, False}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1_000), st.integers(0, 6), st.sampled_from([3, 8, 14, 30, 64]), st.integers(100, 2_000))
@example(0, 2, 64, 1)
def test_a_large_group_is_cut_without_losing_or_repeating_a_pair(
    seed: int, radius: int, bits: int, different: int
) -> None:
    random = np.random.default_rng(seed)
    mask = np.bitwise_or.reduce(np.uint64(1) << random.choice(64, bits, replace=False).astype(np.uint64))
    pool = (random.integers(0, 2**64, different, np.uint64) & mask) | (~mask & np.uint64(0x0123456789ABCDEF))
    hashes = pool[random.integers(0, different, 1_300)]
    pairs = list(near_hashes.near_pairs(hashes, np.zeros(len(hashes), np.int64), radius))
    a, b = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= radius
    wanted = np.flatnonzero(np.triu(near, 1))
    assert np.array_equal(np.sort(np.minimum(a, b) * len(hashes) + np.maximum(a, b)), wanted)


def test_a_large_group_is_not_compared_whole() -> None:
    random = np.random.default_rng(0)
    # One key for all: 40 bits are equal, and the others drawn.
    hashes = random.integers(0, 2**24, 60_000, np.uint64) << np.uint64(13)
    compared = 0
    within = near_hashes._within

    def counted(hashes: np.ndarray, limits: np.ndarray, radius: int) -> near_hashes.Pairs:
        nonlocal compared
        compared += int(np.maximum(limits - np.arange(len(hashes)) - 1, 0).sum())
        return within(hashes, limits, radius)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_hashes, "_within", counted)
        pairs = sum(len(a) for a, _ in near_hashes.near_pairs(hashes, np.zeros(len(hashes), np.int64), 2))
    assert pairs > 10_000
    assert compared < 60_000**2 / 2 / 50


@settings(deadline=None)
@given(st.integers(0, 10), st.integers(1, 6), st.integers(0, 1_000), st.sampled_from([64, 256]))
def test_hashes_within_the_radius_share_a_key(radius: int, more: int, seed: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    plan = HashPlan(bits, radius, min(radius + more, 12))
    if plan.blocks <= radius:
        plan = replace(plan, blocks=radius + 1)
    first = random.integers(0, 2, (1, bits), np.uint8)
    second = first.copy()
    second[0, random.choice(bits, radius, replace=False)] ^= 1
    keys = table_keys(np.packbits(np.concatenate([first, second]), axis=1), plan)
    assert (keys[0] == keys[1]).any()
    assert len(set(keys[0].tolist())) == plan.tables


def test_plans_follow_the_number_of_rows() -> None:
    assert [plan_tables(64, 4, 10**power).tables for power in (3, 6, 9)] == [5, 15, 35]
    with pytest.raises(ValueError, match="between 0 and 63"):
        plan_tables(64, 64, 10)


def test_a_picture_that_says_nothing_has_no_pairs() -> None:
    split = np.zeros((8, 8, 3), np.uint8)
    split[:, 4:] = 255
    flat = np.full((8, 8, 3), 250, np.uint8)
    gradient = np.repeat(np.arange(0, 256, 36, np.uint8)[None, :8, None], 8, axis=0).repeat(3, axis=2)
    product = np.full((8, 8, 3), 255, np.uint8)
    product[2:6, 3:5] = [[40, 90, 160]]
    product[4, 3] = 200
    drawn = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    thumbnails = np.stack([split, flat, gradient, product, drawn]).reshape(-1, 192)
    assert hash_guard.tells(thumbnails).tolist() == [False, False, False, True, True]


def test_brightness_and_contrast_are_made_equal_before_thumbnails_are_compared() -> None:
    picture = np.random.default_rng(0).integers(60, 160, (1, 192), np.uint8)
    other = np.random.default_rng(1).integers(60, 160, (1, 192), np.uint8)
    assert hash_guard.agree(picture, picture + np.uint8(80)).all()
    assert hash_guard.agree(picture, picture // 2).all()
    assert not hash_guard.agree(picture, other).any()


def test_a_dense_cluster_keeps_the_nearest_pairs_of_each_picture_whatever_the_radius() -> None:
    random = np.random.default_rng(5)
    count = 400
    thumbnails = np.repeat(random.integers(0, 256, (1, 192), np.uint8), count, axis=0)
    thumbnails[np.arange(count), random.integers(0, 192, count)] ^= 1
    thumbnails[np.arange(count), np.arange(count) % 192] ^= 2  # All different.
    bits = random.integers(0, 6, count)  # Hashes within few bits of each other.
    rows = pa.table(
        {
            "row": pa.array(np.arange(count)),
            "klass": pa.array(np.arange(count, dtype=np.uint64)),
            "new": pa.array(np.ones(count, bool)),
            "phash": pa.array((np.uint64(1) << bits.astype(np.uint64)) | np.uint64(1 << 40)),
            "phash_256": pa.nulls(count, pa.binary(32)),
            "thumbnail": pa.array([each.tobytes() for each in thumbnails], pa.binary(192)),
        }
    )
    found = joined(rows, HashPlan(64, 2, 3), 1)
    everything = brute_pairs(rows, 2)
    by_row: dict[int, list[tuple[int, int]]] = {}
    for a, b, hamming, *_ in everything:
        by_row.setdefault(a, []).append((hamming, b))
        by_row.setdefault(b, []).append((hamming, a))
    nearest = {(row, other) for row, near in by_row.items() for _, other in sorted(near)[:NEIGHBOURS]}
    wanted = [pair for pair in everything if (pair[0], pair[1]) in nearest or (pair[1], pair[0]) in nearest]
    assert found == wanted
    assert len(wanted) < len(everything)
    assert joined(rows, HashPlan(64, 0, 3), 1) == [pair for pair in wanted if pair[2] == 0]


def test_small_products_of_two_colours_on_white_do_not_agree() -> None:
    red, blue = (np.full((8, 8, 3), 255, np.uint8) for _ in range(2))
    red[2:6, 3:6], blue[2:6, 3:6] = [200, 30, 40], [30, 40, 200]
    assert not hash_guard.agree(red.reshape(1, -1), blue.reshape(1, -1)).any()
    assert np.abs(red.astype(int) - blue).mean() < 24  # A bound on the difference would not tell.
