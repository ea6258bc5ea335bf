"""What to build: everything that decides the bytes of an index, besides its vectors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FAMILIES = ("flat", "ivf_pq", "ivf_pq_fastscan", "ivf_rabitq", "ivf_sq", "whole")


@dataclass(frozen=True)
class IndexPlan:
    """An index, described in full.

    Attributes:
        family: `flat` (exact); `ivf_pq`; `ivf_pq_fastscan` (4-bit product quantizer in blocks of 32 for SIMD);
            `ivf_rabitq` (one bit a dimension); `ivf_sq` (scalar quantizer); `whole`: any other FAISS factory string,
            built by FAISS itself, in one process and in memory.
        factory: FAISS factory string of the index file, without refinement.
        metric: one of `catalog.encoder_info.METRICS`.
        dimension: of the vectors.
        rotation: linear map before the codes: `none`, `opq` (balanced principal components), `pca`, `random`.
        rotated: dimensions after it; `dimension` where there is none.
        lists: inverted lists.
        hnsw_links: links a node of the HNSW graph over the centroids; 0 where all centroids are compared.
        code: `pq8`, `pq4`, `rabitq`, `sq8`, `sq4`, `sqfp16`; empty for `flat` and `whole`.
        code_bytes: of one code in the index file, its row number not counted.
        subquantizers: of the product quantizer; 0 for other codes.
        training_rows: vectors that the sample aims at.
        refine: whether the version keeps its vectors, and orders what the codes propose by them.
        parts: index files that share the lists between them.
        seed: of the sample and of every k-means.
        why: for people; not part of what the plan is.
    """

    family: str
    factory: str
    metric: str
    dimension: int
    rotation: str = "none"
    rotated: int = 0
    lists: int = 0
    hnsw_links: int = 0
    code: str = ""
    code_bytes: int = 0
    subquantizers: int = 0
    training_rows: int = 0
    refine: bool = False
    parts: int = 1
    seed: int = 1
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of a version."""
        return {name: value for name, value in asdict(self).items() if name != "why"}

    def codebook_identity(self) -> dict[str, Any]:
        """What decides the bytes of its codebook."""
        return {name: value for name, value in self.identity().items() if name not in ("refine", "parts")}
