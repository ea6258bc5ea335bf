"""Components are those of a slow union-find, for any graph, however it is cut and ordered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dedupe import components

NODES = st.integers(0, 30)
GRAPHS = st.lists(st.tuples(NODES, NODES), max_size=60) | st.lists(
    # Nodes that two of do not fit in one word.
    st.tuples(*[NODES.map(lambda node: node << 40)] * 2),
    max_size=60,
)


def slow_labels(edges: list[tuple[int, int]]) -> dict[int, int]:
    """Of each node the smallest node that it hangs together with."""
    groups = {node: {node} for edge in edges for node in edge}
    for a, b in edges:
        if groups[a] is not groups[b]:
            groups[a] |= groups[b]
            for node in groups[b]:
                groups[node] = groups[a]
    return {node: min(group) for node, group in groups.items()}


def array(edges: list[tuple[int, int]]) -> np.ndarray:
    return np.array(edges, np.int64).reshape(-1, 2)


def by_bucket(edges: np.ndarray, buckets: int, seed: int) -> list[np.ndarray]:
    """The edges by the bucket of their first node, shuffled."""
    edges = edges[np.random.default_rng(seed).permutation(len(edges))]
    bucket = (edges[:, 0] * 2_654_435_761 >> 7) % buckets
    return [edges[bucket == each] for each in range(buckets)]


def rounds_until_stars(edges: np.ndarray, buckets: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """The edges when every bucket says that it is done, and the rounds that it took."""
    edges = np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1)[:, ::-1]
    for rounds in range(200):
        parts = by_bucket(components.both_ways(edges), buckets, seed + rounds)
        if all(components.is_star_forest(part) for part in parts):
            return edges, rounds
        edges = np.concatenate([components.large_star(part) for part in parts])
        edges = np.concatenate([components.small_star(part) for part in by_bucket(edges, buckets, seed)])
    raise AssertionError("no end after 200 rounds")


def labels_of_stars(edges: np.ndarray) -> dict[int, int]:
    labels: dict[int, int] = {int(node): int(node) for node in edges.reshape(-1)}
    labels.update((int(node), int(label)) for node, label in edges)
    return labels


@settings(deadline=None)
@given(GRAPHS)
def test_union_find_is_the_slow_one(edges: list[tuple[int, int]]) -> None:
    nodes, labels = components.union_find(array(edges))
    assert dict(zip(nodes.tolist(), labels.tolist(), strict=True)) == slow_labels(edges)
    assert (np.diff(nodes) > 0).all()


@settings(deadline=None)
@given(GRAPHS, st.integers(1, 5), st.integers(0, 9), st.booleans())
def test_stars_end_at_the_labels_of_the_slow_one(
    edges: list[tuple[int, int]], buckets: int, seed: int, contracted: bool
) -> None:
    wanted = slow_labels([edge for edge in edges if edge[0] != edge[1]])
    graph = array(edges)
    if contracted:
        graph = np.concatenate([components.contract(graph[each::buckets]) for each in range(buckets)])
    stars, _ = rounds_until_stars(graph, buckets, seed)
    assert labels_of_stars(stars) == wanted


@settings(deadline=None)
@given(GRAPHS)
def test_every_step_keeps_the_components(edges: list[tuple[int, int]]) -> None:
    wanted = slow_labels([edge for edge in edges if edge[0] != edge[1]])
    down = np.sort(array(edges), axis=1)[:, ::-1]
    steps = [
        components.contract(down),
        components.large_star(components.both_ways(down)),
        components.small_star(down),
    ]
    for step in steps:
        found = [(a, b) for a, b in step.tolist()]
        assert slow_labels(found) == wanted
        assert all(a > b for a, b in found)
        assert found == sorted(set(found))


@settings(deadline=None)
@given(GRAPHS)
@example([(0, 1), (1, 2)])
@example([(0, 2), (1, 2)])
def test_a_star_forest_is_one_whose_edges_are_the_labels(edges: list[tuple[int, int]]) -> None:
    down = {(max(edge), min(edge)) for edge in edges if len(set(edge)) > 1}
    wanted = {(node, label) for node, label in slow_labels(list(down)).items() if node != label}
    assert components.is_star_forest(components.both_ways(array(sorted(down)))) == (down == wanted)


@pytest.mark.parametrize("order", ["ascending", "drawn", "alternating"])
def test_rounds_grow_with_the_logarithm_of_a_chain(order: str) -> None:
    count = 100_000
    nodes = np.arange(count)
    if order == "drawn":
        nodes = np.random.default_rng(5).permutation(count)
    if order == "alternating":
        nodes = np.where(nodes % 2, nodes, count + nodes)
    stars, rounds = rounds_until_stars(np.stack([nodes[:-1], nodes[1:]], axis=1), 1)
    assert rounds <= 2 * math.log2(count)
    assert len(stars) == count - 1
    assert set(stars[:, 1].tolist()) == {int(nodes.min())}


def test_a_clique_is_contracted_to_a_star() -> None:
    a, b = np.triu_indices(1_000, 1)
    assert components.contract(np.stack([b, a], axis=1) * 7).tolist() == [[7 * each, 0] for each in range(1, 1_000)]


def test_a_graph_without_edges_is_done() -> None:
    empty = np.empty((0, 2), np.int64)
    assert components.is_star_forest(components.both_ways(empty))
    for step in (components.contract, components.large_star, components.small_star):
        assert step(empty).shape == (0, 2)
    nodes, labels = components.union_find(empty)
    assert len(nodes) == len(labels) == 0
