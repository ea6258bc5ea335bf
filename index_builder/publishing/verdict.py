"""Verdicts: what a gate asked of a version, what it found, and whether that will do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from catalog.errors import UsageError

#: Every gate, in the order in which they are told.
GATES = (
    "read_back",
    "fresh_process",
    "golden_queries",
    "recall_floor",
    "self_lookup",
    "duplicate_ids",
    "list_imbalance",
    "snapshot_order",
    "rolled_back",
    "encoder_change",
    "metric_change",
    "count_drift",
    "recall_drop",
    "overlap",
)
# A version that is not what was built is no opinion that somebody may differ from.
NEVER_FORCED = frozenset(("read_back",))


@dataclass(frozen=True)
class Thresholds:
    """What the gates ask for.

    Attributes:
        recall_floor: recall@10 at the default point, at least.
        recall_drop: of recall@10 on the same queries, against the version on the channel: how much may be lost.
        count_drift: share by which the number of vectors may differ from that version's.
        list_imbalance: FAISS's imbalance factor of the inverted lists, at most; 1 is all lists alike.
        self_lookup: share of the queries that must find their own item among ten.
        overlap: share of that version's answers to the same queries that this one must give too, at least.
        allow_encoder_change: another encoder than that version's is meant.
    """

    recall_floor: float = 0.5
    recall_drop: float = 0.02
    count_drift: float = 0.2
    list_imbalance: float = 10.0
    self_lookup: float = 0.9
    overlap: float = 0.5
    allow_encoder_change: bool = False

    @classmethod
    def of(cls, recorded: Mapping[str, Any], **asked: Any) -> Thresholds:
        """Those that a version was judged by when it was built, where no others are asked for."""
        known = {each.name: recorded[each.name] for each in fields(cls) if each.name in recorded}
        return cls(**{**known, **asked})


@dataclass(frozen=True)
class Verdict:
    """What one gate says.

    Attributes:
        gate: its name.
        passed: whether the version may pass; a gate that has nothing to compare with lets it.
        value: what was measured; None where nothing was.
        threshold: what was asked for; None where nothing can be set.
        says: the sentence for people.
        interval: the 95 % confidence interval of the value, where it has one.
        forced: the reason why somebody overrode the refusal.
    """

    gate: str
    passed: bool
    value: float | int | str | None
    threshold: float | int | str | None
    says: str
    interval: tuple[float, float] | None = None
    forced: str | None = None

    @property
    def refuses(self) -> bool:
        """Whether the gate stops the version."""
        return not self.passed and self.forced is None

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        return {**value, "interval": list(self.interval) if self.interval is not None else None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        interval = value.get("interval")
        return cls(**{**value, "interval": tuple(interval) if interval is not None else None})


def nothing_to_compare(gate: str, why: str) -> Verdict:
    """The verdict of a gate that does not apply."""
    return Verdict(gate, True, None, None, why)


def check_forced(forced: Iterable[str], reason: str | None) -> dict[str, str]:
    """By gate to override, the reason.

    Raises:
        UsageError: there is no such gate, it is never overridden, or no reason was given.
    """
    gates = list(forced)
    for gate in gates:
        if gate not in GATES:
            raise UsageError(f"--force {gate}: there is no such gate; the gates are: {', '.join(GATES)}")
        if gate in NEVER_FORCED:
            raise UsageError(f"--force {gate}: a damaged version is never served; build it anew")
    if gates and not (reason or "").strip():
        raise UsageError(f'--force {gates[0]} needs a --reason "…", which is recorded')
    return {gate: str(reason).strip() for gate in gates}


def force(verdicts: Iterable[Verdict], forced: Mapping[str, str]) -> list[Verdict]:
    """The verdicts, those that refuse overridden where a reason is given."""
    return [
        replace(each, forced=forced[each.gate]) if not each.passed and each.gate in forced else each
        for each in verdicts
    ]
