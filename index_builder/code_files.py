"""Codebooks and codes in the artifact store: trained once, encoded once, found again by content."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from catalog.errors import IntegrityError
from catalog.snapshot import FileEntry
from index_builder.codebook import Codebook, Codes
from index_builder.drift import Fit
from index_builder.faiss_import import faiss
from index_builder.index_plan import IndexPlan


def codebook_url(root: str, codebook: str, name: str = "codebook.json") -> str:
    """Where a file of a codebook is below ARTIFACTS/<name>; `codebook.json` is the last that is written."""
    return storage.join(root, "codebooks", codebook, name)


def write_codebook(root: str, name: str, codebook: Codebook, plan: IndexPlan, training_rows: int, fit: Fit) -> None:
    """Stores a trained codebook: the empty FAISS index, the cells over its centroids, and last a description, so that
    a codebook that has one is whole. Builders at once write the same bytes."""
    storage.write(codebook_url(root, name, "codebook.faiss"), codebook.serialized())
    storage.write(codebook_url(root, name, "cells.npy"), _npy(codebook.tree.cells))
    storage.write(codebook_url(root, name, "starts.npy"), _npy(codebook.tree.starts))
    description = {
        "schema_version": 2,
        "id": name,
        "plan": plan.to_json(),
        "training_rows": training_rows,
        "gap": codebook.tree.gap if math.isfinite(codebook.tree.gap) else None,
        "fit": fit.to_json(),
    }
    storage.write(codebook_url(root, name), canonical_json.dump(description))


def read_codebook(root: str, name: str) -> Codebook:
    """A stored codebook. Raises IntegrityError where it is not what was stored."""
    url = codebook_url(root, name, "codebook.faiss")
    try:
        index = faiss().deserialize_index(np.frombuffer(storage.read_bytes(url), np.uint8))
        described = canonical_json.load(storage.read_bytes(codebook_url(root, name)), codebook_url(root, name))
        gap = math.inf if described["gap"] is None else float(described["gap"])
        return Codebook.of(index, _array(root, name, "cells.npy"), _array(root, name, "starts.npy"), gap)
    except (RuntimeError, KeyError, ValueError, FileNotFoundError) as error:
        raise IntegrityError(f"{url} is damaged: {error}; delete the folder that it is in and run again") from None


def describe_codebook(root: str, name: str) -> tuple[dict[str, Any], Fit] | None:
    """The plan of a stored codebook and how it fitted its own sample; None where there is none."""
    url = codebook_url(root, name)
    try:
        value = canonical_json.load(storage.read_bytes(url), url)
        return value["plan"], Fit(**value["fit"])
    except (FileNotFoundError, KeyError, TypeError):
        return None  # There is none, or one of an older kind, without a fit.


def _npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def _array(root: str, name: str, file: str) -> np.ndarray:
    return np.load(io.BytesIO(storage.read_bytes(codebook_url(root, name, file))), allow_pickle=False)


def codes_url(root: str, codebook: str, entry: FileEntry) -> str:
    """Where the codes of one embedding file under one codebook are."""
    return storage.join(root, "codes", codebook, f"{entry.sha256[:32]}.arrow")


def write_codes(url: str, codes: Codes) -> None:
    """Stores codes as one uncompressed Arrow batch."""
    width = codes.codes.shape[1]
    batch = pa.record_batch(
        {
            "list": pa.array(codes.lists),
            "row": pa.array(codes.rows),
            "code": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(codes.codes), [None, pa.py_buffer(np.ascontiguousarray(codes.codes))]
            ),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    storage.write(url, sink.getvalue())


def read_codes(url: str) -> Codes:
    """Codes as written; memory-mapped where the store is a local disk. Raises IntegrityError."""
    path = storage.store_for(url).local_path(url)
    try:
        source = pa.memory_map(str(path)) if path else pa.BufferReader(storage.read_bytes(url))
        batch = pa.ipc.open_file(source).get_batch(0)
        code = batch.column("code")
    except (pa.ArrowInvalid, KeyError, FileNotFoundError) as error:
        raise IntegrityError(f"{url} is damaged: {error}; delete it and run again") from None
    flat = np.frombuffer(code.buffers()[1] or b"", np.uint8)[: len(code) * code.type.byte_width]
    return Codes(
        batch.column("list").to_numpy(), batch.column("row").to_numpy(), flat.reshape(-1, code.type.byte_width)
    )
