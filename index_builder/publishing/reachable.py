"""Which versions must stay, and why. Pure: what there is goes in, reasons come out."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from catalog.errors import UsageError
from index_builder.publishing.holdings import Holdings
from index_builder.publishing.marks import HOUR, LEAST_GRACE

DAY = 24 * HOUR
# The gates of a large version may take six hours, in which its build stores nothing.
LEAST_ABANDONED = DAY


@dataclass(frozen=True)
class Retention:
    """What stays without being asked for.

    Attributes:
        keep: of the newest versions.
        grace: seconds between the mark and the deletion.
        young: seconds in which a version is not marked; longer than any consumer needs to see that a channel moved.
        abandoned: seconds without a change after which a build that is not finished will never be.
    """

    keep: int
    grace: float = DAY
    young: float = DAY
    abandoned: float = 7 * DAY

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UsageError("--keep 0 would leave nothing to fall back on; keep at least 1")
        if self.grace < LEAST_GRACE:
            raise UsageError(f"--grace is {_told(self.grace)}; at least 1h, for what is under way has to see the mark")
        if self.abandoned < LEAST_ABANDONED:
            raise UsageError(
                f"--abandoned is {_told(self.abandoned)}; at least 24h, for a build that is judged stores nothing for "
                "hours"
            )


def _told(seconds: float) -> str:
    """A time as the flags have it, in the largest unit of which it is a whole number."""
    for unit, size in (("h", HOUR), ("min", 60.0)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def reasons_to_keep(
    held: Holdings, retention: Retention, now: datetime.datetime, deleting: Collection[str] = ()
) -> dict[str, list[str]]:
    """For each version that has a manifest, why it stays; nothing for one that may go.

    Args:
        held: what there is.
        retention: what stays without being asked for.
        now: the time, with its zone.
        deleting: versions that a collector is deleting; those stay only if something needs them.
    """
    reasons: dict[str, list[str]] = {version: [] for version in (*held.whole, *held.damaged)}
    _named(held, reasons)
    whole = [each for each in reversed(held.order) if each in held.whole and each not in deleting]
    for version in whole[: retention.keep]:
        reasons[version].append(f"newest {retention.keep}")
    for version, manifest in held.whole.items():
        age = seconds_since(manifest.created_at, now)
        if age is None:
            reasons[version].append("of unknown age")
        elif age < retention.young and version not in deleting:
            reasons[version].append("young")
    _damaged(held, reasons)
    _needed(held, reasons)
    return reasons


def _named(held: Holdings, reasons: dict[str, list[str]]) -> None:
    """What channels point to, or go back to first, and pins."""
    for channel in held.channels:
        if channel.pointer is not None and channel.pointer.version in reasons:
            reasons[channel.pointer.version].append(f"channel {channel.name}")
        if channel.earlier and channel.earlier[0].version in reasons:
            reasons[channel.earlier[0].version].append(f"rollback of {channel.name}")
    for version, found in reasons.items():
        found += [f"pin: {reason}" for reason in held.pins_of(version).reasons]


def _damaged(held: Holdings, reasons: dict[str, list[str]]) -> None:
    """A damaged manifest does not say what its version needs; that can only be older."""
    places = {version: place for place, version in enumerate(held.order)}
    for damaged, why in held.damaged.items():
        reasons[damaged].append(f"damaged: {why}")
        for version in held.whole:
            if places.get(version, -1) < places.get(damaged, len(places)):
                reasons[version].append(f"older than {damaged}, which is damaged and may need it")


def _needed(held: Holdings, reasons: dict[str, list[str]]) -> None:
    """What a version that stays needs, stays, and what that needs."""
    needed_by: dict[str, list[str]] = defaultdict(list)
    waiting = [version for version, found in reasons.items() if found]
    seen = set(waiting)
    while waiting:
        version = waiting.pop()
        for needed in held.whole[version].needs if version in held.whole else ():
            needed_by[needed].append(version)
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    for needed, by in needed_by.items():
        if needed in reasons:
            reasons[needed] += [f"needed by {version}" for version in sorted(by)]


def seconds_since(when: str, now: datetime.datetime) -> float | None:
    """Seconds from a time in ISO 8601 to `now`; None where it is no time, or has no zone."""
    try:
        then = datetime.datetime.fromisoformat(when)
    except ValueError:
        return None
    return None if then.tzinfo is None else (now - then).total_seconds()
