"""Budgets of an index: whether a plan is within them, and, where none is, what binds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from catalog.errors import UsageError
from index_builder.planning.estimates import ROW_NUMBER_BYTES, index_terms, serving_terms
from index_builder.planning.index_plan import IndexPlan

# As on the command line; powers of 1,000, for budgets are round numbers.
_UNITS = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


@dataclass(frozen=True)
class Budgets:
    """At most `memory` bytes of memory to serve (see `Estimate.serving_ram`), and at most `bytes_per_vector` of the
    FAISS file; None for any."""

    memory: int | None = None
    bytes_per_vector: float | None = None

    def __str__(self) -> str:
        parts = [f"--memory-budget {in_words(self.memory)}"] if self.memory is not None else []
        if self.bytes_per_vector is not None:
            parts.append(f"--bytes-per-vector {self.bytes_per_vector:g}")
        return " and ".join(parts)

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self.memory is not None or self.bytes_per_vector is not None

    def hold(self, plan: IndexPlan, vectors: int) -> bool:
        """Whether the plan is within them."""
        return all(sum(terms.values()) <= limit for _, limit, terms in self._limits(plan, vectors))

    def check(self, plan: IndexPlan, vectors: int) -> None:
        """Refuses the smallest plan that there is, where it is not within them.

        Raises:
            UsageError: names the budget and the terms that are too much for it.
        """
        for flag, limit, terms in self._limits(plan, vectors):
            if sum(terms.values()) <= limit:
                continue
            name = "memory-budget" if flag == "memory" else "bytes-per-vector"
            asked = in_words(limit) if flag == "memory" else f"{limit / vectors:g}"
            total = sum(terms.values())
            enough = in_words(total, up=True) if flag == "memory" else f"{math.ceil(10 * total / vectors) / 10:g}"
            raise UsageError(
                f"--{name} {asked} is less than {_binding(terms, limit, vectors, plan, flag)}; the smallest that would "
                f"do is {enough}, for {plan.factory}"
            )

    def _limits(self, plan: IndexPlan, vectors: int) -> list[tuple[str, float, dict[str, int]]]:
        limits: list[tuple[str, float, dict[str, int]]] = []
        if self.memory is not None:
            limits.append(("memory", self.memory, serving_terms(plan, vectors)))
        if self.bytes_per_vector is not None:
            limits.append(("bytes", self.bytes_per_vector * vectors, index_terms(plan, vectors)))
        return limits


def _binding(terms: dict[str, int], limit: float, vectors: int, plan: IndexPlan, flag: str) -> str:
    """The terms that do not fit, in words: one alone, or the sum up to where it is too much."""

    def size(value: int) -> str:
        return in_words(value, up=True) if flag == "memory" else f"{value / vectors:.1f}"

    reasons = {
        "row numbers": f"{ROW_NUMBER_BYTES} bytes for each of {vectors:,} vectors",
        "vectors": f"{4 * plan.dimension} bytes for each of {vectors:,} vectors",
        "codes": f"{plan.code_bytes} bytes for each of {vectors:,} vectors",
        "centroids": f"{plan.lists:,} lists of {plan.rotated} dimensions",
        "table of products": f"{plan.lists:,} lists, which FAISS computes for l2 on opening",
    }
    needed, taken = [], 0
    for name, value in terms.items():
        if value == 0:
            continue
        taken += value
        needed.append(f"{size(value)} that {name} take" + (f" ({reasons[name]})" if name in reasons else ""))
        if value > limit:
            alone = needed[-1].replace(" take", " alone take", 1)
            return f"the {alone}"
        if taken > limit:
            break
    return f"the {' and the '.join(needed)}"


def in_words(size: float, up: bool = False) -> str:
    """A number of bytes as `--memory-budget` takes it, such as 20MB; `up` never gives less than there is."""
    for unit, bytes_of_unit in _UNITS:
        if size >= bytes_of_unit:
            value = size / bytes_of_unit
            digits = 100 if value < 10 else 10
            shown = math.ceil(value * digits) / digits if up else round(value, 3)
            return f"{shown:.10g}{unit}"
    return f"{math.ceil(size)}"
