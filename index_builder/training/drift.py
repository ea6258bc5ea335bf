"""Whether last night's codebook still fits tonight's vectors, and why.

A codebook is kept while new vectors lie about as far from its centroids, lose about as much in their codes, and fill
its lists about as evenly as the vectors did that it was trained on. The same codebook means that only new files are
encoded; a new one means that all are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from index_builder.faiss_import import faiss
from index_builder.training.codebook import Codebook, assign_all

# Each as a share of what was measured when the codebook was trained; below, a retrained index gains less recall than
# one sample differs from another. docs/operations.md has the table.
MOST_COARSE_DISTANCE = 1.10
MOST_QUANTIZATION_ERROR = 1.15
MOST_IMBALANCE = 1.5
# Added to the share of empty lists.
MORE_EMPTY_LISTS = 0.10
# Of the best recall@10 of an index, lost since the first version with this codebook.
MOST_RECALL_LOST = 0.02
# The number of lists is kept while the number that would be planned now is within this factor of it.
MOST_GROWTH = 2.0


@dataclass(frozen=True)
class Fit:
    """How a codebook fits vectors.

    Attributes:
        coarse_distance: mean squared distance of a vector to its centroid.
        quantization_error: mean squared distance of a vector to what its code says.
        imbalance: mean length of the list that a vector is in, in units of the mean length of a list: 1 is even.
        empty_lists: share of the lists that got no vector.
        held_out: vectors that the distances were measured on; none of them was trained on.
        sampled: vectors that the lists were filled with.
    """

    coarse_distance: float
    quantization_error: float
    imbalance: float
    empty_lists: float
    held_out: int
    sampled: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_fit(codebook: Codebook, held_out: np.ndarray, sample: np.ndarray) -> Fit:
    """How a codebook fits vectors, prepared for its metric.

    Args:
        codebook: trained.
        held_out: float32 [m, d] that it was not trained on: those that it was lie nearer.
        sample: float32 [n, d], enough to see how full the lists are.
    """
    library, inner = faiss(), codebook.inner
    rotated = np.ascontiguousarray(codebook.rotate(held_out), np.float32)
    lists = assign_all(codebook.tree, rotated)
    codes = np.zeros((len(rotated), inner.code_size), np.uint8)
    inner.encode_vectors(len(rotated), *(library.swig_ptr(each) for each in (rotated, lists, codes)), False)
    width = inner.coarse_code_size()  # Of the number of a list, the lowest byte first; 0 where there is one list.
    prefix = lists.astype("<i8").view(np.uint8).reshape(len(lists), 8)[:, :width]
    decoded = inner.sa_decode(np.ascontiguousarray(np.concatenate([prefix, codes], axis=1)))
    filled = np.ascontiguousarray(codebook.rotate(sample), np.float32)
    sizes = np.bincount(assign_all(codebook.tree, filled), minlength=inner.nlist)
    share = sizes / max(1, len(sample))
    return Fit(
        coarse_distance=_mean_square(rotated - codebook.tree.centroids[lists]),
        quantization_error=_mean_square(rotated - decoded),
        imbalance=round(float(inner.nlist * (share**2).sum()), 6),
        empty_lists=round(float((sizes == 0).mean()), 6),
        held_out=len(held_out),
        sampled=len(sample),
    )


def _mean_square(differences: np.ndarray) -> float:
    if len(differences) == 0:
        return 0.0
    return float(f"{float((differences.astype(np.float64) ** 2).sum(axis=1).mean()):.6g}")


def reasons_to_retrain(then: Fit, now: Fit, recall_then: float | None, recall_now: float | None) -> list[str]:
    """Why a codebook no longer fits; empty when it does.

    Args:
        then: measured on the sample that it was trained on.
        now: measured on as large a sample of the snapshot to index.
        recall_then: best recall@10 of the first version with this codebook.
        recall_now: best recall@10 of the latest.
    """
    checks: tuple[tuple[str, float, float], ...] = (
        ("coarse distance", now.coarse_distance, then.coarse_distance * MOST_COARSE_DISTANCE),
        ("quantization error", now.quantization_error, then.quantization_error * MOST_QUANTIZATION_ERROR),
        ("list imbalance", now.imbalance, then.imbalance * MOST_IMBALANCE),
        ("share of empty lists", now.empty_lists, then.empty_lists + MORE_EMPTY_LISTS),
    )
    if then.held_out == 0 or now.held_out == 0:
        checks = checks[2:]  # A catalog so small that nobody asks says nothing of distances.
    reasons = [f"{name} {value:.4g} is above {most:.4g}" for name, value, most in checks if value > most]
    if recall_then is not None and recall_now is not None and recall_now < recall_then - MOST_RECALL_LOST:
        least = recall_then - MOST_RECALL_LOST
        reasons.append(f"best recall@10 of the latest version {recall_now:.4g} is below {least:.4g}")
    return reasons
