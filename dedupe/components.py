"""Connected components: pairs of rows to the smallest row of everything that hangs together.

Between machines by alternating two steps on stars (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii, "Connected
Components in MapReduce and Beyond", 2014), each a plain function over the edges of some nodes; on one machine by
union-find. All are exact, and give the same for any order and any cut.

Edges are int64 [n, 2]. A *downward* edge has the larger node first; what `contract`, `large_star`, `small_star` and
`union_find` return is sorted and has each edge once. The job is:

1. `contract` of any part of the edges; what it returns joins the same nodes with at most nodes - 1 edges, which makes
   little of a dense clique before anything is sent.
2. `both_ways` of the downward edges, sent to the bucket of the first node. Where every bucket `is_star_forest`, each
   edge is (node, smallest node of its component): done. Else `large_star` of each bucket.
3. What that gave, sent to the bucket of the first node; `small_star` of each bucket; on with 2.

A node and all its edges must meet in one bucket. In practice rounds grow with the logarithm of the longest chain.
"""

from __future__ import annotations

import numpy as np

_HALF = 31


def both_ways(edges: np.ndarray) -> np.ndarray:
    """Each edge under both of its nodes: int64 [2 n, 2], without those from a node to itself."""
    edges = _edges(edges)
    edges = edges[edges[:, 0] != edges[:, 1]]
    return np.concatenate([edges, edges[:, ::-1]])


def large_star(edges: np.ndarray) -> np.ndarray:
    """Ties every larger neighbour of a node to the smallest of the node and its neighbours.

    Args:
        edges: int64 [n, 2], first the node whose star it is; all edges of each such node, as `both_ways` gives them, in
            any order.

    Returns:
        int64 [m, 2], downward edges.
    """
    edges = _sorted_unique(edges)
    nodes, neighbours = edges[:, 0], edges[:, 1]
    smallest = np.minimum(nodes, neighbours[_begin_of_each(nodes)])
    return _downward(neighbours[neighbours > nodes], smallest[neighbours > nodes])


def small_star(edges: np.ndarray) -> np.ndarray:
    """Ties a node and its smaller neighbours to the smallest of those.

    Args:
        edges: int64 [n, 2], downward edges; all of each node that comes first, in any order.

    Returns:
        int64 [m, 2], downward edges.
    """
    edges = _sorted_unique(edges)
    nodes, neighbours = edges[:, 0], edges[:, 1]
    begins = _begin_of_each(nodes)
    smallest = neighbours[begins]
    first = begins == np.arange(len(edges))
    return _downward(
        np.concatenate([neighbours, nodes[first]]),
        np.concatenate([smallest, smallest[first]]),
    )


def is_star_forest(edges: np.ndarray) -> bool:
    """Whether each node of a bucket is done: it has one neighbour, which is smaller, or none that is smaller.

    Where this holds of every bucket, the downward edges are (node, smallest node of its component), all of them.

    Args:
        edges: as `large_star` takes them.
    """
    edges = _sorted_unique(edges)
    nodes, neighbours = edges[:, 0], edges[:, 1]
    smallest_is_below = neighbours[_begin_of_each(nodes)] < nodes
    alone = np.ones(len(edges), np.bool_)
    alone[1:] &= nodes[1:] != nodes[:-1]
    alone[:-1] &= nodes[1:] != nodes[:-1]
    return bool((~smallest_is_below | alone).all())


def union_find(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The components of a graph that fits in memory.

    Args:
        edges: int64 [n, 2], in any direction; a node may have one to itself.

    Returns:
        int64 [m] the nodes, ascending; int64 [m], of each the smallest node of its component.
    """
    edges = _edges(edges)
    nodes, places = np.unique(edges, return_inverse=True)
    places = places.reshape(-1, 2)
    root = np.arange(len(nodes))
    while True:
        ends = root[places]
        open_edges = ends[:, 0] != ends[:, 1]
        if not open_edges.any():
            return nodes, nodes[root]
        places, ends = places[open_edges], ends[open_edges]
        # Each root goes below its smallest neighbour. One that has only larger neighbours takes all of them in, or
        # is next to a smaller one in the next round: roots that are left halve every two rounds.
        np.minimum.at(root, ends.max(axis=1), ends.min(axis=1))
        while (above := root[root])[root != above].size:
            root = above


def contract(edges: np.ndarray) -> np.ndarray:
    """The edges as stars: int64 [m, 2], downward edges (node, smallest node of its component), the same components.

    The edges may be any part of a graph.
    """
    nodes, labels = union_find(edges)
    tied = nodes != labels
    return np.stack([nodes[tied], labels[tied]], axis=1)


def _edges(edges: np.ndarray) -> np.ndarray:
    return np.asarray(edges, np.int64).reshape(-1, 2)


def _sorted_unique(edges: np.ndarray) -> np.ndarray:
    """The edges sorted by first and second node, each once, none from a node to itself."""
    edges = _edges(edges)
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges) or (edges.min() >= 0 and edges.max() < 1 << _HALF):
        # Both nodes in one number: many times as fast as sorting by two.
        packed = np.sort(edges[:, 0] << _HALF | edges[:, 1])
        first = np.ones(len(packed), np.bool_)
        first[1:] = packed[1:] != packed[:-1]
        packed = packed[first]
        return np.stack([packed >> _HALF, packed & ((1 << _HALF) - 1)], axis=1)
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    again = np.zeros(len(edges), np.bool_)
    again[1:] = (edges[1:] == edges[:-1]).all(axis=1)
    return edges[~again]


def _begin_of_each(nodes: np.ndarray) -> np.ndarray:
    """int64 [n]: of each place in a sorted array, the first that holds the same."""
    starts = np.zeros(len(nodes), np.int64)
    changes = np.flatnonzero(nodes[1:] != nodes[:-1]) + 1
    starts[changes] = changes
    return np.maximum.accumulate(starts)


def _downward(larger: np.ndarray, smaller: np.ndarray) -> np.ndarray:
    return _sorted_unique(np.stack([larger, smaller], axis=1))
