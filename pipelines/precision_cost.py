"""What a lower precision cost: how many of an item's nearest neighbours it changed, measured on the run's images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.partition import item_hashes
from catalog.snapshot import read_snapshot
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.image_loader import ImageRequest, LoadedImage
from encoders.meter import Meter
from encoders.registry import load_encoder

_SAMPLE = 1_000
_NEIGHBOURS = 10
_SEED = 3


@dataclass(frozen=True)
class PrecisionCost:
    """Stored vectors against those that float32 gives the same images.

    Attributes:
        sampled: items compared, the same ones on every machine.
        neighbour_overlap: share of the 10 nearest of the sample, by cosine, that both have; mean over the sample.
        mean_cosine, least_cosine: between the two vectors of an image.
    """

    sampled: int
    neighbour_overlap: float
    mean_cosine: float
    least_cosine: float


def measure_precision(store: str, sequence: int, spec: str, limits: DecodeLimits) -> PrecisionCost | None:
    """Encodes a sample of a snapshot's images again, in float32.

    Args:
        spec: the encoder without its precision.

    Returns:
        None when fewer than 12 sampled images could be read.
    """
    uris, hashes, stored = _sample(store, sequence)
    encoder = load_encoder(spec)
    answers = list(ImageEncoder(encoder, limits).encode_all([ImageRequest(uri) for uri in uris], Meter()))
    # The same bytes, not what the place gives without the query that was its name.
    good = [
        row
        for row, answer in enumerate(answers)
        if isinstance(answer, LoadedImage) and answer.content_hash == hashes[row]
    ]
    if len(good) < _NEIGHBOURS + 2:
        return None
    vectors = [answer.vector for row in good if isinstance(answer := answers[row], LoadedImage)]
    full = np.stack([vector for vector in vectors if vector is not None])
    return compare_vectors(full, stored[good])


def compare_vectors(full: np.ndarray, low: np.ndarray) -> PrecisionCost:
    """float32 [n, d] of the full precision against [n, d] of the lower, row by row."""
    full, low = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (full, low.astype(np.float32)))
    cosine = np.sum(full * low, axis=1)
    overlap = [
        len(set(one) & set(other)) / _NEIGHBOURS for one, other in zip(_nearest(full), _nearest(low), strict=True)
    ]
    return PrecisionCost(
        len(full), round(float(np.mean(overlap)), 4), round(float(cosine.mean()), 5), round(float(cosine.min()), 5)
    )


def _nearest(vectors: np.ndarray) -> np.ndarray:
    """int64 [n, 10]: for each row the rows nearest to it, itself left out."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :_NEIGHBOURS]


def _sample(store: str, sequence: int) -> tuple[list[str], list[bytes], np.ndarray]:
    """Locations, content hashes and stored vectors of the items whose ids have the smallest hashes. Vectors are read of
    the files alone that the sample is in."""
    found: list[tuple[int, int, int]] = []  # Hash, file, row.
    files = read_snapshot(store, sequence).files
    for number, entry in enumerate(files):
        ids = read_file(storage.join(store, entry.path), ["item_id"])["item_id"].to_pylist()
        hashes, removed = item_hashes(ids, _SEED), set(entry.removed)
        best = np.argsort(hashes, kind="stable")[: _SAMPLE + len(removed)]
        found += [(int(hashes[row]), number, int(row)) for row in best if ids[row] not in removed]
        found = sorted(found)[:_SAMPLE]
    uris, contents, vectors = [], [], []
    for number in sorted({number for _, number, _ in found}):
        rows = pa.array([row for _, of, row in found if of == number], pa.int64())
        names = ["image_uri", "content_hash", "embedding"]
        table = read_file(storage.join(store, files[number].path), names).take(rows)
        uris += table["image_uri"].to_pylist()
        contents += table["content_hash"].to_pylist()
        vectors.append(vectors_of(table["embedding"], table.schema.field("embedding").type.list_size))
    return uris, contents, np.concatenate(vectors)
