"""Items that share a key, as edges to the first of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.runner import pipeline_options
from pipelines.star_edges import StarEdges

PAIRS = st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 30).map(str)), max_size=60).map(sorted)


def edges_one_by_one(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The oracle: every group in memory."""
    groups = defaultdict(set)
    for key, item in pairs:
        groups[key].add(item)
    return [(min(group), item) for group in groups.values() for item in group if item != min(group)]


def check(pairs: list[tuple[str, str]], edges: list[tuple[str, str]], heavier_than: int) -> None:
    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        found = pipeline | beam.Create(pairs, reshuffle=False) | StarEdges(heavier_than)
        assert_that(found, equal_to(edges))


@settings(max_examples=15, deadline=None)
@given(pairs=PAIRS, heavier_than=st.integers(0, 20), seed=st.randoms(use_true_random=False))
def test_edges_are_those_of_groups_in_memory_whatever_is_heavy_and_in_whatever_order(
    pairs: list[tuple[str, str]], heavier_than: int, seed: Random
) -> None:
    expected = edges_one_by_one(pairs)
    seed.shuffle(pairs)
    check(pairs, expected, heavier_than)


def test_no_group_larger_than_the_limit_is_brought_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lengths = tmp_path / "lengths"

    def noted(key: str, items: Iterable[str]) -> list[tuple[str, str]]:
        with lengths.open("a") as file:
            file.write(f"{len(list(items))}\n")
        return []

    monkeypatch.setattr("pipelines.star_edges.star", noted)
    pairs = [("placeholder", str(number)) for number in range(5_000)]
    pairs += [(f"key {number}", str(number)) for number in range(300)]
    pairs += [("pair", "a"), ("pair", "b")]
    check(pairs, [("0", str(number)) for number in range(1, 5_000)], heavier_than=100)
    assert sorted(map(int, lengths.read_text().split())) == [1] * 300 + [2]
