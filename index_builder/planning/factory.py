"""FAISS factory strings: what one asks for, as a plan, and a plan as a string."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Required, TypedDict, Unpack

from catalog.errors import UsageError
from index_builder.faiss_import import faiss
from index_builder.measures import faiss_metric
from index_builder.planning.index_plan import IndexPlan

# FAISS wants at least 39 training vectors a list.
VECTORS_PER_LIST = 39
_TRAINING_PER_LIST = 64
# One sample serves the coarse quantizer, the rotation and the product quantizer, which asks for 256 vectors a centroid.
_TRAINING_FOR_CODES = 65_536
# What FAISS itself builds is trained in memory.
_TRAINING_FOR_WHOLE = 1 << 18
# What FAISS links where a factory string gives no number.
HNSW_LINKS = 32
# Two floats beside the bits of RaBitQ: what its estimate of a distance is corrected by.
_RABITQ_FACTORS = 8

_LISTS_OF_CODES = re.compile(
    r"(?:(?:OPQ(?P<groups>\d+)(?:_(?P<opq>\d+))?|PCA(?P<pca>\d+)|(?P<rr>RR)(?P<random>\d+)?),)?"
    r"IVF(?P<lists>\d+)(?P<unit>[kM])?(?P<hnsw>_HNSW(?P<links>\d+)?)?,"
    r"(?:PQ(?P<subquantizers>\d+)(?:x(?P<bits>8|4|4fs))?|(?P<code>RaBitQ|SQ8|SQ4|SQfp16))"
)
_REFINED = re.compile(r"(?P<base>.+?),(?:RFlat|Refine\((?P<by>.*)\))")
# Versions keep vectors as they are stored, and order candidates by those.
_KEPT_AS = (None, "Flat", "SQfp16")
_UNITS = {None: 1, "k": 1 << 10, "M": 1 << 20}


class ListCode(TypedDict, total=False):
    """What an index of lists of codes is made of; see `IndexPlan`."""

    code: Required[str]
    lists: Required[int]
    rotation: str
    rotated: int
    hnsw_links: int
    subquantizers: int


def ivf_plan(
    vectors: int, dimension: int, metric: str, *, fastscan: bool = False, **parts: Unpack[ListCode]
) -> IndexPlan:
    """An index of lists of codes; what is not given follows from the rest."""
    rotated, code = parts.setdefault("rotated", dimension), parts["code"]
    subquantizers = parts.get("subquantizers", 0)
    families = {"pq8": "ivf_pq", "pq4": "ivf_pq", "rabitq": "ivf_rabitq"}
    plan = IndexPlan(
        family="ivf_pq_fastscan" if fastscan else families.get(code, "ivf_sq"),
        factory="",
        metric=metric,
        dimension=dimension,
        code_bytes={
            "pq8": subquantizers,
            "pq4": (subquantizers + 1) // 2,
            "rabitq": (rotated + 7) // 8 + _RABITQ_FACTORS,
            "sq8": rotated,
            "sq4": (rotated + 1) // 2,
            "sqfp16": 2 * rotated,
        }[code],
        training_rows=training_rows(vectors, parts["lists"]),
        **parts,
    )
    return replace(plan, factory=factory_string(plan))


def training_rows(vectors: int, lists: int) -> int:
    """How many vectors the sample aims at."""
    return min(vectors, max(_TRAINING_PER_LIST * lists, _TRAINING_FOR_CODES))


def factory_string(plan: IndexPlan) -> str:
    """The FAISS factory string of a plan, without refinement."""
    if plan.family in ("flat", "whole"):
        return plan.factory
    rotations = {
        "none": "",
        "opq": f"OPQ{plan.subquantizers}_{plan.rotated},",
        "pca": f"PCA{plan.rotated},",
        "random": f"RR{plan.rotated},",
    }
    codes = {
        "pq8": f"PQ{plan.subquantizers}",
        "pq4": f"PQ{plan.subquantizers}x4{'fs' if plan.family == 'ivf_pq_fastscan' else ''}",
        "rabitq": "RaBitQ",
        "sq8": "SQ8",
        "sq4": "SQ4",
        "sqfp16": "SQfp16",
    }
    graph = f"_HNSW{plan.hnsw_links}" if plan.hnsw_links else ""
    return f"{rotations[plan.rotation]}IVF{plan.lists}{graph},{codes[plan.code]}"


def parse_factory(text: str, vectors: int, dimension: int, metric: str) -> IndexPlan:
    """The plan that a FAISS factory string asks for.

    What is not of the form `[OPQm_d|PCAd|RRd,]IVFn[_HNSWm],(PQm|PQmx4|PQmx4fs|RaBitQ|SQ8|SQ4|SQfp16)`, but is known to
    FAISS, is of the family `whole`. `,RFlat` and `,Refine(SQfp16)` keep the vectors; the plan's factory is without.

    Args:
        text: the string.
        vectors: how many there are.
        dimension: of them.
        metric: one of `catalog.encoder_info.METRICS`.

    Raises:
        UsageError: FAISS does not know it, or it does not fit the vectors.
    """
    base, refine = _without_refine(text)
    why = f"--factory {text} asks for it"
    if base == "Flat":
        return IndexPlan("flat", "Flat", metric, dimension, why=why)
    if metric == "l1":
        raise UsageError(f"--factory {text} cannot be: l1 is only searched exactly; write --factory Flat")
    found = _LISTS_OF_CODES.fullmatch(base)
    plan = _parsed(text, found, vectors, dimension, metric) if found else None
    return replace(plan or _whole(text, base, vectors, dimension, metric), refine=refine, why=why)


def _without_refine(text: str) -> tuple[str, bool]:
    found = _REFINED.fullmatch(text)
    if found is None:
        return text, False
    if found["by"] not in _KEPT_AS:
        raise UsageError(
            f"--factory {text} refines by {found['by']}, but versions keep their vectors as they are stored and order "
            f"candidates by those; write {found['base']},RFlat"
        )
    return found["base"], True


def _parsed(text: str, found: re.Match[str], vectors: int, dimension: int, metric: str) -> IndexPlan | None:
    """The plan; None where only FAISS itself can build it: OPQ for other sub-quantizers than those of the code."""
    rotation = "opq" if found["groups"] else "pca" if found["pca"] else "random" if found["rr"] else "none"
    rotated = int(found["opq"] or found["pca"] or found["random"] or dimension)
    subquantizers, lists = int(found["subquantizers"] or 0), int(found["lists"]) * _UNITS[found["unit"]]
    if rotation == "opq" and int(found["groups"]) != subquantizers:
        return None
    if rotated < 1 or (rotation in ("opq", "pca") and rotated > dimension):
        raise UsageError(
            f"--factory {text} rotates to {rotated} dimensions; of {dimension}, 1 to {dimension} can be kept"
        )
    if found["subquantizers"] and (subquantizers < 1 or rotated % subquantizers):
        fits = next(m for m in range(min(max(subquantizers, 1), rotated), 0, -1) if rotated % m == 0)
        raise UsageError(
            f"--factory {text} cuts {rotated} dimensions into {subquantizers} sub-quantizers, which must divide them; "
            f"the largest number up to {subquantizers} that does is {fits}"
        )
    _check_lists(text, lists, vectors)
    links = int(found["links"] or HNSW_LINKS) if found["hnsw"] else 0
    if found["hnsw"] and links < 2:
        raise UsageError(f"--factory {text} has a graph of {links} links a node; write at least 2, or {HNSW_LINKS}")
    code = found["code"].lower() if found["code"] else "pq4" if (found["bits"] or "8")[0] == "4" else "pq8"
    _check_training(text, {"pq8": 256, "pq4": 16}.get(code, 1), vectors)
    return ivf_plan(
        vectors,
        dimension,
        metric,
        code=code,
        lists=lists,
        rotation=rotation,
        rotated=rotated,
        hnsw_links=links,
        subquantizers=subquantizers,
        fastscan=found["bits"] == "4fs",
    )


def _check_lists(text: str, lists: int, vectors: int) -> None:
    most = vectors // VECTORS_PER_LIST
    if lists < 1:
        raise UsageError(f"--factory {text} has no lists; write at least IVF1")
    if lists <= most:
        return
    if most == 0:
        raise UsageError(f"--factory {text}: {vectors:,} vectors are too few for lists; write --factory Flat")
    raise UsageError(
        f"--factory {text} has {lists:,} lists, which need {VECTORS_PER_LIST} vectors each; {vectors:,} vectors are "
        f"enough for {most:,} lists"
    )


def _check_training(text: str, needed: int, vectors: int) -> None:
    if vectors < needed:
        raise UsageError(
            f"--factory {text} learns {needed} centroids a sub-quantizer, for which {vectors:,} vectors are too few; "
            "write --factory Flat"
        )


def _whole(text: str, base: str, vectors: int, dimension: int, metric: str) -> IndexPlan:
    """What FAISS itself builds, in memory."""
    library = faiss()
    if "IDMap" in base:
        raise UsageError(f"--factory {text} numbers vectors anew; the number of a hit is its row already: drop IDMap")
    try:
        index = library.index_factory(dimension, base, faiss_metric(metric))
    except (RuntimeError, MemoryError):
        raise UsageError(
            f"--factory {text} is none that FAISS can build of {dimension} dimensions and {metric}; expected, for "
            "example, OPQ64_256,IVF4096,PQ64 or IVF4096,PQ64x4fs,RFlat; the number after PQ divides the dimension"
        ) from None
    inverted = library.try_extract_index_ivf(index)
    if inverted is not None:
        _check_lists(text, int(inverted.nlist), vectors)
    return IndexPlan("whole", base, metric, dimension, training_rows=min(vectors, _TRAINING_FOR_WHOLE))
