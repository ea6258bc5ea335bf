"""Codebooks and codes in the artifact store: trained once, encoded once, found again by content."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import canonical_json, storage
from catalog.errors import ConflictError
from catalog.snapshot import FileEntry
from index_builder.codebook import Codes
from index_builder.faiss_import import faiss
from index_builder.index_plan import IndexPlan


def codebook_url(root: str, codebook: str) -> str:
    """Where a codebook's FAISS file is below ARTIFACTS/<name>."""
    return storage.join(root, "codebooks", codebook, "codebook.faiss")


def write_codebook(root: str, codebook: str, data: bytes, plan: IndexPlan, training_rows: int) -> None:
    """Stores a trained codebook, its description first, so that a codebook that is there is whole."""
    description = {"schema_version": 1, "id": codebook, "plan": plan.to_json(), "training_rows": training_rows}
    storage.write(storage.join(root, "codebooks", codebook, "codebook.json"), canonical_json.dump(description))
    # Of two builders at once the first counts: codes are made with what is stored.
    with contextlib.suppress(ConflictError):
        storage.create(codebook_url(root, codebook), data)


def read_codebook(root: str, codebook: str) -> Any:
    """The trained, empty FAISS index."""
    data = storage.read_bytes(codebook_url(root, codebook))
    return faiss().deserialize_index(np.frombuffer(data, np.uint8))


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
    """Codes as written; memory-mapped where the store is a local disk."""
    path = storage.store_for(url).local_path(url)
    source = pa.memory_map(str(path)) if path else pa.BufferReader(storage.read_bytes(url))
    batch = pa.ipc.open_file(source).get_batch(0)
    code = batch.column("code")
    flat = np.frombuffer(code.buffers()[1], np.uint8)[: len(code) * code.type.byte_width]
    return Codes(
        batch.column("list").to_numpy(), batch.column("row").to_numpy(), flat.reshape(-1, code.type.byte_width)
    )
