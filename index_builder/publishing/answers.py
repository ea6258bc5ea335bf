"""`answers.arrow`: what a version answers to the queries of its evaluation.

With it two versions are compared by reading two small files; neither index needs to be there.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.errors import IntegrityError
from index_builder.evaluation.ground_truth import Neighbours
from index_builder.evaluation.recall import ROUNDING, Truth
from index_builder.searching.items import Items
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.sample import VectorSample

NEIGHBOURS = 10
# Of a vector's length: float16 keeps three digits.
_SAME = 2e-3


@dataclass(frozen=True)
class Answers:
    """Of each query, in the order of its item id.

    Attributes:
        item_ids: the item that asks.
        vectors: float32 [q, d], prepared.
        recall: float64 [q], recall@10 at the default point; NaN where it says nothing.
        found_itself: bool [q], whether it is among its ten nearest, or they are as near as itself.
        found: the ids of the ten nearest, itself left out, the nearest first.
    """

    item_ids: list[str]
    vectors: np.ndarray
    recall: np.ndarray
    found_itself: np.ndarray
    found: list[list[str]]


def ask(searcher: Searcher, items: Items, queries: VectorSample, truth: Neighbours, point: OperatingPoint) -> Answers:
    """Asks all queries at `point`.

    Args:
        searcher: the index.
        items: of the index.
        queries: prepared.
        truth: their exact neighbours.
        point: to ask at.
    """
    rows, values = searcher.search(queries.vectors, NEIGHBOURS + 1, point)
    recall = Truth(truth, queries.rows, queries.vectors).shares(Neighbours(rows, values), [NEIGHBOURS])[NEIGHBOURS]
    own = rows == queries.rows[:, None]
    # A query with more copies than places need not be among them: the last is as near as the first then.
    length = (queries.vectors.astype(np.float64) ** 2).sum(axis=1)
    rounded = ROUNDING * (np.abs(values[:, -1].astype(np.float64)) + length)
    copies = (rows[:, -1] >= 0) & (np.abs(values[:, 0] - values[:, -1]) <= rounded)
    ids = [items.item_id(int(row)) for row in queries.rows]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return Answers(
        item_ids=[ids[place] for place in order],
        vectors=np.ascontiguousarray(queries.vectors[order], np.float32),
        recall=recall[order],
        found_itself=(own[:, :NEIGHBOURS].any(axis=1) | copies)[order],
        found=[_ids(items, rows[place][~own[place]]) for place in order],
    )


def _ids(items: Items, rows: np.ndarray) -> list[str]:
    return [items.item_id(int(row)) for row in rows[rows >= 0][:NEIGHBOURS]]


def write_answers(path: Path, answers: Answers) -> None:
    """Writes `answers.arrow`."""
    dimension = answers.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(answers.vectors.reshape(-1), pa.float32()), dimension)
    batch = pa.record_batch(
        {
            "item_id": pa.array(answers.item_ids, pa.string()),
            "vector": vectors,
            "recall_at_10": pa.array(answers.recall, pa.float64(), mask=np.isnan(answers.recall)),
            "found_itself": pa.array(answers.found_itself, pa.bool_()),
            "found": pa.array(answers.found, pa.list_(pa.string())),
        }
    )
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)


def read_answers(data: bytes, where: str) -> Answers:
    """Reads `answers.arrow`. Raises IntegrityError naming `where`."""
    try:
        table = pa.ipc.open_file(io.BytesIO(data)).read_all().combine_chunks()
        dimension = table.schema.field("vector").type.list_size
        flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Answers(
            item_ids=table["item_id"].to_pylist(),
            vectors=flat.reshape(-1, dimension).astype(np.float32),
            recall=table["recall_at_10"].to_numpy().astype(np.float64),
            found_itself=np.array(table["found_itself"].to_pylist(), bool),
            found=table["found"].to_pylist(),
        )
    except (pa.ArrowInvalid, KeyError, AttributeError, ValueError) as error:
        raise IntegrityError(f"{where} is damaged: {error}") from None


def same_queries(one: Answers, other: Answers) -> Sequence[tuple[int, int]]:
    """Places of the queries that both versions were asked: the same item with the same vector, but for what another
    machine or another way of batching makes of its last digits."""
    places = {item_id: place for place, item_id in enumerate(other.item_ids)}
    pairs = [(place, places[item_id]) for place, item_id in enumerate(one.item_ids) if item_id in places]
    if one.vectors.shape[1:] != other.vectors.shape[1:] or not pairs:
        return []
    ours, theirs = (np.array(each) for each in zip(*pairs, strict=True))
    apart = np.linalg.norm(one.vectors[ours] - other.vectors[theirs], axis=1)
    same = apart <= _SAME * np.linalg.norm(other.vectors[theirs], axis=1)
    return [pair for pair, is_same in zip(pairs, same.tolist(), strict=True) if is_same]
