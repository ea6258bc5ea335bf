from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_builder.evaluation.operating_points import MeasuredPoint, choose, climb, cost, pareto
from index_builder.searching.searcher import OperatingPoint


def measured(spending: int, recall: float, nprobe: int = 1, rerank: int = 0) -> MeasuredPoint:
    return MeasuredPoint(OperatingPoint(nprobe, rerank), spending, {"10": recall}, {"10": (recall, recall)})


def climbed(lists: int, rerank: tuple[int, ...], hnsw: bool, recall_of: object, target: float | None = None) -> list:
    points: list[OperatingPoint] = []

    def ask(point: OperatingPoint) -> float:
        points.append(point)
        return recall_of(point)  # type: ignore[operator]

    climb(lists, rerank, hnsw, ask, target)
    return points


curves = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12)


@given(curves)
def test_pareto_points_are_those_that_nothing_beats(curve: list[tuple[int, int]]) -> None:
    points = [measured(spending, recall / 20, nprobe) for nprobe, (spending, recall) in enumerate(curve)]
    front = pareto(points)
    kept = {(each.cost, each.recall["10"]) for each in front}
    for each in points:
        beaten = any(
            (other.cost <= each.cost and other.recall["10"] > each.recall["10"])
            or (other.cost < each.cost and other.recall["10"] >= each.recall["10"])
            for other in points
        )
        assert ((each.cost, each.recall["10"]) in kept) != beaten
    assert pareto(points[::-1]) == front
    assert all(a.cost < b.cost and a.recall["10"] < b.recall["10"] for a, b in itertools.pairwise(front))


@given(curves, st.floats(0, 1))
def test_the_default_is_the_cheapest_point_that_reaches_the_target(curve: list[tuple[int, int]], target: float) -> None:
    points = [measured(spending, recall / 20, nprobe) for nprobe, (spending, recall) in enumerate(curve)]
    chosen, met = choose(points, target)
    enough = [each for each in points if each.recall["10"] >= target]
    assert met == bool(enough)
    if enough:
        assert chosen.cost == min(each.cost for each in enough)
        assert chosen.recall["10"] >= target
    else:
        best = max(each.recall["10"] for each in points)
        assert (chosen.recall["10"], chosen.cost) == (
            best,
            min(each.cost for each in points if each.recall["10"] == best),
        )


def test_without_a_target_the_default_is_the_cheapest_that_is_nearly_the_best() -> None:
    points = [measured(10, 0.8), measured(20, 0.95), measured(30, 0.954), measured(40, 0.9549)]
    assert choose(points, None) == (points[1], None)


def test_cost_grows_with_lists_candidates_and_nodes() -> None:
    base = cost(OperatingPoint(8, 4, 64), 100_000, 256)
    for harder in (OperatingPoint(16, 4, 64), OperatingPoint(8, 16, 64), OperatingPoint(8, 4, 256)):
        assert cost(harder, 100_000, 256) > base
    assert cost(OperatingPoint(0, 0), 1_500, 0) == 1_500


def test_a_rising_curve_is_climbed_in_powers_of_two_for_every_number_of_candidates() -> None:
    points = climbed(16, (4, 16), False, lambda point: point.nprobe / 32 + point.rerank / 64)
    assert points == [OperatingPoint(nprobe, rerank) for nprobe in (1, 2, 4, 8, 16) for rerank in (4, 16)]


def test_no_more_than_1024_lists_are_visited() -> None:
    points = climbed(1 << 17, (0,), False, lambda point: point.nprobe / 2_000)
    assert points[-1] == OperatingPoint(1_024, 0)


def test_steps_that_gain_nothing_end_the_climb() -> None:
    points = climbed(512, (4, 16, 64), False, lambda point: min(point.nprobe, 8) / 10)
    assert points == [OperatingPoint(nprobe, rerank) for nprobe in (1, 2, 4, 8, 16, 32) for rerank in (4, 16)]


@pytest.mark.parametrize(("target", "last"), [(None, 32), (0.8, 32), (0.9, 512)])
def test_a_target_that_is_not_reached_is_climbed_for_to_the_end(target: float | None, last: int) -> None:
    points = climbed(512, (0,), False, lambda point: min(point.nprobe, 8) / 10, target)
    assert points[-1].nprobe == last


def test_graph_nodes_are_tried_only_where_there_is_a_graph() -> None:
    flat = climbed(1_024, (0,), False, lambda point: point.nprobe / 2_000)
    graph = climbed(1_024, (0,), True, lambda point: point.nprobe / 2_000 + point.ef_search / 10_000)
    assert {point.ef_search for point in flat} == {0}
    assert all(point.nprobe <= point.ef_search <= 1_024 for point in graph)
    assert [point.ef_search for point in graph if point.nprobe == 1] == [64, 256]


def test_a_flat_index_has_one_point() -> None:
    assert climbed(0, (0,), False, lambda point: 1.0) == [OperatingPoint(0, 0)]
