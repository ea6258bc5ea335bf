"""Rows of vectors on their way to a store: each with its id, its origin, its vector as it will be stored, or with the
reason why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.embedding_file import vector_array
from catalog.partition import partitions_of
from catalog.rejects import Reason
from catalog.vector_files import VectorBlock

_LARGEST_FLOAT16 = 65_504.0
# Below it float16 has fewer digits, so a vector whose largest value is smaller would lose some of its direction.
_SMALLEST_FLOAT16 = 2.0**-14
# Twice what rounding to float16 can move the length of a vector of unit length.
_UNIT_TOLERANCE = 1e-3


def vector_row_schema(dimension: int, vector_type: str, metadata: pa.Schema) -> pa.Schema:
    """The schema of a batch of rows. `file` and `row` are the origin; `reason` and `detail` say why a row is rejected,
    and are null where its vector can be stored."""
    fields = [
        pa.field("item_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("file", pa.int32()),
        pa.field("row", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("embedding", vector_array(np.empty((0, dimension)), vector_type).type),
    ]
    return pa.schema(fields + ([pa.field("metadata", pa.struct(list(metadata)))] if len(metadata) else []))


@dataclass(frozen=True)
class CheckedVectors:
    """A block of vectors, looked at.

    Attributes:
        vectors: [n, d] as they are stored; of no meaning where there is a problem.
        problems: why each vector cannot be stored, None where it can.
        fits_float16: whether float16 holds all that can be stored without losing their direction.
        unit_length: whether all that can be stored have unit length.
    """

    vectors: np.ndarray
    problems: list[str | None]
    fits_float16: bool
    unit_length: bool


def check_vectors(vectors: np.ndarray, missing: np.ndarray | None, metric: str, vector_type: str) -> CheckedVectors:
    """Rounds vectors to float32, and from there to the type of the store, and finds those that cannot be stored.

    Args:
        vectors: [n, d] of any numbers.
        missing: bool [n], rows without a vector; None for none.
        metric: cosine wants a direction.
        vector_type: of the store.
    """
    # What a type cannot hold becomes infinite, and is found as such.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        single = vectors.astype(np.float32)
        largest = np.abs(single).max(axis=1, initial=0)
        stored = single.astype(np.float16) if vector_type == "float16" else single
        length = np.linalg.norm(stored.astype(np.float32, copy=False), axis=1)
        # Of the same vectors the same is said, whatever they are stored in.
        unit = np.abs(np.linalg.norm(single, axis=1) - 1) <= _UNIT_TOLERANCE
    finite = np.isfinite(vectors).all(axis=1)
    none = np.zeros(len(vectors), bool)
    problems: list[str | None] = [None] * len(vectors)
    found = (
        (none if missing is None else missing, "the row has no vector"),
        (~finite, "a value is not a finite number"),
        (~np.isfinite(largest), "a value is too large for float32"),
        (
            (largest > _LARGEST_FLOAT16) & (vector_type == "float16"),
            "a value is too large for float16; import into a store of float32",
        ),
        (largest == 0 if metric == "cosine" else none, "it is all zeros, which have no direction"),
        (
            (length == 0) | ~np.isfinite(length) if metric == "cosine" else none,
            f"its length is 0 or infinite in {vector_type}, so it has no direction",
        ),
    )
    usable = np.ones(len(vectors), bool)
    for wrong, problem in found:
        for row in np.flatnonzero(wrong & usable):
            problems[row] = problem
        usable &= ~wrong
    largest = largest[usable]
    fits = (largest == 0) | ((largest >= _SMALLEST_FLOAT16) & (largest <= _LARGEST_FLOAT16))
    return CheckedVectors(stored, problems, bool(fits.all()), bool(unit[usable].all()))


def row_batch(block: VectorBlock, checked: CheckedVectors, file: int, schema: pa.Schema) -> pa.RecordBatch:
    """A block as a batch of `vector_row_schema`.

    Args:
        block: the rows, with their item ids.
        checked: their vectors.
        file: number of the file that they are from.
        schema: of the batch.
    """
    count = len(block.vectors)
    assert block.item_id is not None
    unnamed = np.flatnonzero(pc.equal(block.item_id, "").to_numpy(zero_copy_only=False))
    reasons: list[str | None] = [Reason.INVALID_VECTOR if problem else None for problem in checked.problems]
    details = list(checked.problems)
    for row in unnamed:
        reasons[row], details[row] = Reason.EMPTY_ITEM_ID, "the item id is empty"
    embedding = schema.field("embedding").type
    columns: list[pa.Array] = [
        block.item_id,
        pa.nulls(count, pa.string()) if block.product_id is None else block.product_id,
        pa.array(np.full(count, file), pa.int32()),
        pa.array(np.arange(block.first + 1, block.first + 1 + count), pa.int64()),
        pa.array(reasons, pa.string()),
        pa.array(details, pa.string()),
        vector_array(checked.vectors, "float16" if embedding.value_type == pa.float16() else "float32"),
    ]
    if "metadata" in schema.names:
        type_ = schema.field("metadata").type
        columns.append(pa.nulls(count, type_) if block.metadata is None else block.metadata)
    return pa.record_batch(columns, schema=schema)


def origin_of(labels: list[str], file: int, row: int) -> str:
    """Where a row is from, for people."""
    return f"{labels[file]} row {row}"


def partitions_of_rows(batch: pa.RecordBatch, labels: list[str], partitions: int) -> np.ndarray:
    """int64 [n]: the partition of each row. Rows without an id go by their origin, so that they too have one place."""
    ids = batch.column("item_id").to_pylist()
    if "" in ids:
        files, rows = batch.column("file").to_pylist(), batch.column("row").to_pylist()
        ids = [name or origin_of(labels, file, row) for name, file, row in zip(ids, files, rows, strict=True)]
    return partitions_of(ids, partitions)
