"""Codebooks in the artifact store: trained once, kept from night to night, and never used unverified."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog import canonical_json, storage
from catalog.errors import IntegrityError
from index_builder.faiss_import import faiss
from index_builder.planning.index_plan import IndexPlan
from index_builder.training.codebook import CODEBOOK_FORMAT, Codebook
from index_builder.training.drift import Fit
from index_builder.version_job import BUILDER_VERSION

_DESCRIPTION = "codebook.json"


@dataclass(frozen=True)
class DescribedCodebook:
    """What is known of a stored codebook without reading it.

    Attributes:
        plan: of the index that it was trained for, as JSON.
        fit: to its own sample.
        builder: `BUILDER_VERSION` of what trained it.
    """

    plan: dict[str, Any]
    fit: Fit
    builder: int


def codebook_url(root: str, codebook: str, name: str = _DESCRIPTION) -> str:
    """Where a file of a codebook is below ARTIFACTS/<name>; `codebook.json` is the last that is written."""
    return storage.join(root, "codebooks", codebook, name)


def write_codebook(root: str, name: str, codebook: Codebook, plan: IndexPlan, training_rows: int, fit: Fit) -> None:
    """Stores a trained codebook: the empty FAISS index, the cells over its centroids, and last a description, so that
    a codebook that has one is whole. Builders at once write the same bytes."""
    files = {
        "codebook.faiss": codebook.serialized(),
        "cells.npy": _npy(codebook.tree.cells),
        "starts.npy": _npy(codebook.tree.starts),
    }
    for file, data in files.items():
        storage.write(codebook_url(root, name, file), data)
    description = {
        "schema_version": CODEBOOK_FORMAT,
        "id": name,
        "builder_version": BUILDER_VERSION,
        "plan": plan.to_json(),
        "training_rows": training_rows,
        "gap": codebook.tree.gap if math.isfinite(codebook.tree.gap) else None,
        "fit": fit.to_json(),
        "files": {file: hashlib.sha256(data).hexdigest() for file, data in files.items()},
    }
    signed = {**description, "sha256": canonical_json.digest(description)}
    storage.write(codebook_url(root, name), canonical_json.dump(signed))


def read_codebook(root: str, name: str) -> Codebook:
    """A stored codebook. Raises IntegrityError where it is not what was stored, or one of an older format."""
    description = _description(root, name)
    if description is None:
        raise _damaged(root, name, _DESCRIPTION, "it is missing, or of another version of catalog-indexer")
    data = {file: _verified(root, name, file, digest) for file, digest in description["files"].items()}
    cells, starts = (np.load(io.BytesIO(data[file]), allow_pickle=False) for file in ("cells.npy", "starts.npy"))
    index = faiss().deserialize_index(np.frombuffer(data["codebook.faiss"], np.uint8))
    return Codebook.of(index, cells, starts, math.inf if description["gap"] is None else float(description["gap"]))


def describe_codebook(root: str, name: str) -> DescribedCodebook | None:
    """A stored codebook; None where there is none, or one of an older format, which cannot be verified. Raises
    IntegrityError where the description is not what was stored."""
    value = _description(root, name)
    return None if value is None else DescribedCodebook(value["plan"], Fit(**value["fit"]), value["builder_version"])


def _description(root: str, name: str) -> dict[str, Any] | None:
    url = codebook_url(root, name)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    try:
        value = dict(canonical_json.load(data, url))
    except (IntegrityError, TypeError, ValueError):
        raise _damaged(root, name, _DESCRIPTION, "it is not a JSON object") from None
    if value.get("schema_version") != CODEBOOK_FORMAT:
        return None
    if value.pop("sha256", None) != canonical_json.digest(value):
        raise _damaged(root, name, _DESCRIPTION, "its content does not match its checksum")
    return value


def _verified(root: str, name: str, file: str, digest: str) -> bytes:
    try:
        data = storage.read_bytes(codebook_url(root, name, file))
    except FileNotFoundError:
        raise _damaged(root, name, file, "it is missing") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(root, name, file, "its content does not match its checksum")
    return data


def _damaged(root: str, name: str, file: str, why: str) -> IntegrityError:
    url = codebook_url(root, name, file)
    return IntegrityError(f"{url} is damaged: {why}; delete the folder that it is in and run again")


def _npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()
