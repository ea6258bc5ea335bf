"""Promotion: a published version, judged by the gates, onto a channel; and back again."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from catalog.channel import CANDIDATE, Channel, Pointer, read_channel, write_channel
from catalog.errors import ConflictError, GateRefusedError, IntegrityError
from catalog.manifest import Manifest
from index_builder.publishing.gates import ask_gates
from index_builder.publishing.marks import keep_from_collection
from index_builder.publishing.verdict import Thresholds, Verdict
from index_builder.publishing.verify import find_version, read_published

_TRIES = 100


@dataclass(frozen=True)
class Promotion:
    """What came of a promotion.

    Attributes:
        version: that was to be promoted.
        channel: it was to be promoted to.
        came_from: the version that the channel pointed to before; None for a new channel.
        moved: whether the channel points to it now and did not before.
        verdicts: of the gates; for the channel `candidate` of `read_back` at most, for no other stands before it.
    """

    version: str
    channel: str
    came_from: str | None
    moved: bool
    verdicts: Sequence[Verdict]

    @property
    def is_there(self) -> bool:
        """Whether the channel points to the version now."""
        return self.moved or self.came_from == self.version

    @property
    def refused(self) -> list[Verdict]:
        """The verdicts that stopped it."""
        return [each for each in self.verdicts if each.refuses]


@dataclass(frozen=True)
class Request:
    """What is asked of a version before a channel moves to it.

    Attributes:
        channel: to move.
        thresholds: of the gates.
        forced: reasons to override gates, from `check_forced`.
    """

    channel: str
    thresholds: Thresholds = field(default_factory=Thresholds)
    forced: Mapping[str, str] = field(default_factory=dict)


def promote(root: str, pointer: Pointer, request: Request) -> Promotion:
    """Asks the gates, and points the channel to a version that passes them. A refused version is left on `candidate`.

    Args:
        root: URL of ARTIFACTS/<name>.
        pointer: to the version, from the log.
        request: what is asked of it.

    Raises:
        ConflictError: the channel was moved by somebody else while the gates were asked.
        IntegrityError: the version's manifest is not the published one; the channel stays where it is.
    """
    manifest = read_published(root, pointer)
    there = read_channel(root, request.channel)
    if request.channel == CANDIDATE:
        moved = _point_candidate(root, pointer, as_named=True)
        return Promotion(pointer.version, CANDIDATE, _version_on(there), moved, ())
    verdicts = ask_gates(root, manifest, there, request.thresholds, request.forced)
    return move(root, there, pointer, verdicts, request)


def settle(root: str, manifest: Manifest, pointer: Pointer, request: Request) -> Promotion:
    """Moves a channel to a version by the verdicts in its manifest, which were given when it was built just now.

    Raises:
        ConflictError: the channel does not point to the version any more that the verdicts compare with.
    """
    verdicts = [Verdict.from_json(each) for each in manifest.gates]
    there = read_channel(root, request.channel)
    before = _version_on(there)
    if request.channel == CANDIDATE:
        moved = not _is_damaged(verdicts) and _point_candidate(root, pointer)
        read_back = [each for each in verdicts if each.gate == "read_back"]
        return Promotion(pointer.version, CANDIDATE, before, moved, read_back)
    if any(each.version == manifest.version for each in there.moves):
        return promote(root, pointer, request)  # It has been there, and may have been taken back.
    if before != manifest.parent:
        _offer(root, pointer, verdicts)
        raise ConflictError(
            f"channel {request.channel} was moved to version {before} by another publisher while version "
            f"{manifest.version} was built, which is on channel candidate: look at both, and promote it if it is the "
            "better"
        )
    return move(root, there, pointer, verdicts, request)


def move(
    root: str, there: Channel, pointer: Pointer, verdicts: Sequence[Verdict], request: Request | None = None
) -> Promotion:
    """Points `there` to a version if no verdict stops it, and `candidate` to any that is not damaged.

    Raises:
        ConflictError: the channel is not the one that was read any more.
    """
    _offer(root, pointer, verdicts)
    moved = there.pointer != pointer and not any(each.refuses for each in verdicts)
    if moved:
        keep_from_collection(root, pointer.version)
        asked = request or Request(there.name)
        write_channel(root, there.promoted(pointer, asked.forced, asdict(asked.thresholds) if verdicts else None))
    return Promotion(pointer.version, there.name, _version_on(there), moved, verdicts)


def _version_on(channel: Channel) -> str | None:
    return channel.pointer.version if channel.pointer is not None else None


def _is_damaged(verdicts: Sequence[Verdict]) -> bool:
    return any(each.gate == "read_back" and each.refuses for each in verdicts)


def _offer(root: str, pointer: Pointer, verdicts: Sequence[Verdict]) -> None:
    """Points `candidate` to a version that is not damaged. A damaged `candidate` keeps no other channel from moving."""
    if not _is_damaged(verdicts):
        keep_from_collection(root, pointer.version)
        with contextlib.suppress(IntegrityError):
            _point_candidate(root, pointer)


def _point_candidate(root: str, pointer: Pointer, as_named: bool = False) -> bool:
    """Points `candidate` to a version, whoever else does the same: to a newer one than it is on, or `as_named`."""
    for _ in range(_TRIES):
        there = read_channel(root, CANDIDATE)
        if there.pointer == pointer:
            return False
        if there.pointer is not None and there.pointer.sequence > pointer.sequence and not as_named:
            return False
        keep_from_collection(root, pointer.version)
        try:
            write_channel(root, there.promoted(pointer, {}))
            return True
        except ConflictError:
            continue
    raise ConflictError(f"channel {CANDIDATE} was moved by others {_TRIES} times; run again")


def rollback(root: str, channel: str, version: str | None = None, reason: str = "") -> Channel:
    """Points a channel back to an earlier version of it, the latest if None: one write, whatever the index's size.

    Returns:
        The channel as it is now.

    Raises:
        UsageError: the channel has no such earlier version, or it is being deleted.
        IntegrityError: that version was collected, or its manifest is not the published one.
        ConflictError: somebody else moved the channel meanwhile.
    """
    there = read_channel(root, channel)
    if there.pointer is None:
        find_version(root, channel)  # Which says what channels there are.
    back = there.rolled_back(version, reason)
    assert back.pointer is not None
    # A read, and a write only where the collector means to delete that version.
    keep_from_collection(root, back.pointer.version)
    read_published(root, back.pointer)
    write_channel(root, back)
    return back


def refusal(promotion: Promotion, artifacts: str, name: str) -> GateRefusedError:
    """The error that tells which gates refused, the values, the thresholds, and how to override."""
    sentences = [f"gate {each.gate}: {each.says}" for each in promotion.refused]
    if promotion.refused[0].gate == "read_back":
        return GateRefusedError(f"version {promotion.version} was refused; {sentences[0]}; no channel moved")
    forced = " ".join(f"--force {each.gate}" for each in promotion.refused)
    override = (
        f"; to promote it all the same: catalog-indexer promote --artifacts {shlex.quote(artifacts)} --name {name} "
        f'--version {promotion.version} --channel {promotion.channel} {forced} --reason "…"'
    )
    stays = f"{promotion.channel} stays on version {promotion.came_from}" if promotion.came_from else "no channel moved"
    if promotion.is_there:
        return GateRefusedError(
            f"version {promotion.version} is on channel {promotion.channel} already and would not get there now: "
            f"{'; '.join(sentences)}; roll it back if it should not be there"
        )
    return GateRefusedError(
        f"version {promotion.version} was refused and is left on channel candidate; {stays}; {'; '.join(sentences)}"
        f"{override}"
    )
