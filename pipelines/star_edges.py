"""Items that share a key, as the edges of stars: a join of a collection with itself that never holds a group.

Engines hand the values of a key over as one element, wholly in memory, and a catalog has keys with a third of its rows:
a placeholder picture, a default text. So keys are counted first, by a combiner that adds up before the shuffle. The
few that are heavy travel to all workers, and their items need no grouping any more; the groups of all others are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam

_COUNT_AND_FIRST = tuple[int, str]
# A key with more items than this is heavy. A billion items have at most 100,000 such keys, about 10 MB.
HEAVIER_THAN = 10_000


class StarEdges(beam.PTransform):
    """(key, item id) to (first item id of the key, other item id), one for each item but the first.

    Keys are bytes or strings. The first is the smallest in the order of code points, so the same collection gives the
    same edges in whatever order and on whatever engine. Item ids are unique within a key.

    Args:
        heavier_than: no group of more items than this is ever brought together.
    """

    def __init__(self, heavier_than: int = HEAVIER_THAN) -> None:
        super().__init__()
        self._limit = heavier_than

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        limit = self._limit
        heavy = (
            pairs
            | "CountKeys" >> beam.CombinePerKey(_CountAndFirst())
            | "HeavyKeys" >> beam.Filter(lambda keyed: keyed[1][0] > limit)
            | "FirstOfHeavy" >> beam.MapTuple(lambda key, counted: (key, counted[1]))
        )
        sides = pairs | "ByWeight" >> beam.ParDo(_ByWeight(), beam.pvalue.AsDict(heavy)).with_outputs(
            "light", main="edges"
        )
        light = sides.light | "LightGroups" >> beam.GroupByKey() | "LightStars" >> beam.FlatMapTuple(star)
        return (sides.edges, light) | "Edges" >> beam.Flatten()


def star(key: str | bytes, items: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The edges of one group."""
    first, *others = sorted(items)
    return ((first, item) for item in others)


class _ByWeight(beam.DoFn):
    """Edges of items whose key is heavy; the others, with their keys, as `light`."""

    def process(
        self, pair: tuple[str | bytes, str], heavy: Mapping[str | bytes, str]
    ) -> Iterator[tuple[str, str] | beam.pvalue.TaggedOutput]:
        key, item = pair
        if key not in heavy:
            yield beam.pvalue.TaggedOutput("light", pair)
        elif item != heavy[key]:
            yield heavy[key], item


class _CountAndFirst(beam.CombineFn):
    """How many items a key has, and the smallest."""

    def create_accumulator(self) -> _COUNT_AND_FIRST | None:
        return None

    def add_input(self, so_far: _COUNT_AND_FIRST | None, item: str) -> _COUNT_AND_FIRST:
        return (1, item) if so_far is None else (so_far[0] + 1, min(so_far[1], item))

    def merge_accumulators(self, all_so_far: Iterable[_COUNT_AND_FIRST | None]) -> _COUNT_AND_FIRST | None:
        found = [each for each in all_so_far if each is not None]
        return (sum(count for count, _ in found), min(first for _, first in found)) if found else None

    def extract_output(self, so_far: _COUNT_AND_FIRST | None) -> _COUNT_AND_FIRST:
        assert so_far is not None  # A key is there for an item's sake.
        return so_far
