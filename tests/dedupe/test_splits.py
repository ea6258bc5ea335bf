from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from catalog.errors import UsageError
from catalog.partition import partitions_of
from dedupe.splits import SplitRatios, assign, expected_sizes

RATIOS = SplitRatios.parse("train=0.8,val=0.1,test=0.1")


def test_no_edge_crosses_splits() -> None:
    drawn = np.random.default_rng(3)
    component = drawn.integers(0, 300, 2_000)
    edges = drawn.integers(0, 2_000, (20_000, 2))
    edges = edges[component[edges[:, 0]] == component[edges[:, 1]]]
    split = assign((f"item-{key}" for key in component.tolist()), RATIOS)
    assert len(edges) > 50
    assert set(split.tolist()) == {0, 1, 2}
    assert (split[edges[:, 0]] == split[edges[:, 1]]).all()


def test_sizes_are_within_what_is_expected_of_them() -> None:
    keys = [f"item-{number}" for number in range(20_000)]
    for seed in range(3):
        sizes = np.bincount(assign(keys, RATIOS, seed), minlength=3)
        for expected, size in zip(expected_sizes(RATIOS, 20_000, 20_000), sizes.tolist(), strict=True):
            assert abs(size - expected.items) < 4 * expected.deviation


def test_the_deviation_is_that_of_many_seeds_with_large_components_too() -> None:
    component = np.array([1] * 60 + [10] * 4)
    ratios = SplitRatios.parse("train=0.75,test=0.25")
    keys = [f"c{number}" for number in range(len(component))]
    tests = [int(component[assign(keys, ratios, seed) == 1].sum()) for seed in range(800)]
    _, test = expected_sizes(ratios, int(component.sum()), int((component**2).sum()))
    assert np.mean(tests) == pytest.approx(test.items, abs=4 * test.deviation / 800**0.5)
    assert np.std(tests) == pytest.approx(test.deviation, rel=0.1)


def test_a_component_stays_where_it_was_when_others_come() -> None:
    keys = [f"item-{number}" for number in range(100)]
    assert assign(keys, RATIOS).tolist() == assign(["new", *keys], RATIOS)[1:].tolist()
    assert assign(keys, RATIOS).tolist() != assign(keys, RATIOS, seed=1).tolist()


def test_a_split_is_not_made_of_partitions() -> None:
    keys = [f"item-{number}" for number in range(2_000)]
    split, partition = assign(keys, RATIOS), partitions_of(keys, 16)
    assert all(set(split[partition == each].tolist()) == {0, 1, 2} for each in range(16))


def test_shares_are_read_exactly() -> None:
    assert RATIOS.names == ("train", "val", "test")
    assert sum(RATIOS.shares) == 1
    assert SplitRatios.parse("a=1/3, b=2/3").shares == (Fraction(1, 3), Fraction(2, 3))
    assert assign(["x", "y"], SplitRatios.parse("all=1")).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train=0.8,test=0.1", "add up to 1, not 0.9"),
        ("train=1.5,test=-0.5", "above 0"),
        ("train=0.5,train=0.5", "a name of its own"),
        ("=0.5,b=0.5", "a name of its own"),
        ("train", "'train' must be a name and its share"),
        ("train=most,test=0.1", "'train=most' must be a name and its share"),
        ("train=1/0", "'train=1/0' must be"),
    ],
)
def test_shares_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        SplitRatios.parse(text)
    assert said in str(refused.value)
