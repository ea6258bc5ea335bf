"""Channels: tiny files that say which version is served. A channel moves by compare-and-swap, one write at a time.

Beside the version it holds the versions that it can go back to, and its latest moves with their reasons.
"""

from __future__ import annotations

import datetime
import getpass
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import ConflictError, IntegrityError, UsageError
from catalog.manifest import check_name

SCHEMA_VERSION = 2
# The newest version, whatever was said of it; no gate stands before it.
CANDIDATE = "candidate"
# Versions that a channel can go back to, and moves that it remembers: a poll reads all of them.
_EARLIER_KEPT = 20
_MOVES_KEPT = 50


@dataclass(frozen=True)
class Pointer:
    """A version, the sha256 of its manifest, and its number in the log."""

    version: str
    manifest_sha256: str
    sequence: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Pointer:
        return cls(str(value["version"]), str(value["manifest_sha256"]), int(value["sequence"]))


@dataclass(frozen=True)
class Move:
    """A move of a channel: when, by whom, from which version to which.

    Attributes:
        action: `promote` or `rollback`.
        version: that the channel points to since.
        came_from: that it pointed to before; None for a new channel.
        at: UTC, ISO 8601.
        by: user and machine.
        reason: that was given for a rollback, "" where none was.
        forced: by gate that was to be overridden, the reason why.
        thresholds: what the gates asked for; none for a rollback, and where no gate was asked.
    """

    action: str
    version: str
    came_from: str | None
    at: str
    by: str
    reason: str = ""
    forced: dict[str, str] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Channel:
    """`channels/<name>.json`.

    Attributes:
        name: of the channel.
        pointer: to the version that is served; None for a channel that does not exist yet.
        earlier: what `rollback` goes back to, the latest first; versions that were taken back are not among them.
        moves: the latest moves, the newest last.
        token: for compare-and-swap; no part of the file.
    """

    name: str
    pointer: Pointer | None = None
    earlier: tuple[Pointer, ...] = ()
    moves: tuple[Move, ...] = ()
    token: str | None = field(default=None, compare=False)

    def to_bytes(self) -> bytes:
        assert self.pointer is not None
        body = {
            "schema_version": SCHEMA_VERSION,
            **self.pointer.to_json(),
            "earlier": [each.to_json() for each in self.earlier],
            "moves": [asdict(each) for each in self.moves],
        }
        return canonical_json.dump({**body, "sha256": canonical_json.digest(body)})

    @classmethod
    def from_bytes(cls, name: str, data: bytes, token: str | None, where: str) -> Channel:
        """Raises IntegrityError or UsageError naming `where`."""
        value = canonical_json.load(data, where)
        check_schema(value, where)
        if value["schema_version"] >= 2:
            value.pop("sha256", None)
            # The bytes, and not what they say: the same content can be spelled in two ways.
            if data != canonical_json.dump({**value, "sha256": canonical_json.digest(value)}):
                raise IntegrityError(f"{where} is damaged: its sha256 is not that of its content")

        def build(value: Any) -> Channel:
            earlier = tuple(Pointer.from_json(each) for each in value.get("earlier", ()))
            moves = tuple(Move(**each) for each in value.get("moves", ()))
            return cls(name, Pointer.from_json(value), earlier, moves, token)

        return canonical_json.shaped(value, where, build)

    def promoted(
        self, pointer: Pointer, forced: Mapping[str, str], thresholds: Mapping[str, Any] | None = None
    ) -> Channel:
        """The channel on another version, from which it can go back to the one that it points to."""
        kept = [each for each in self.earlier if each.version != pointer.version]
        if self.pointer is not None and self.pointer.version != pointer.version:
            kept.insert(0, self.pointer)
        return self._moved("promote", pointer, kept, forced=dict(forced), thresholds=dict(thresholds or {}))

    def rolled_back(self, version: str | None, reason: str) -> Channel:
        """The channel on an earlier version, the latest if None; those in between are not gone back to again.

        Raises:
            UsageError: there is no such earlier version.
        """
        there = [each.version for each in self.earlier]
        if not there:
            raise UsageError(f"channel {self.name} has no earlier version to go back to")
        if version is not None and version not in there:
            raise UsageError(
                f"channel {self.name} cannot go back to {version!r}; it can go back to: {', '.join(there)}; any other "
                "version takes promote"
            )
        place = there.index(version) if version is not None else 0
        return self._moved("rollback", self.earlier[place], list(self.earlier[place + 1 :]), reason=reason)

    def taken_back(self, version: str) -> Move | None:
        """The rollback that took a version from this channel, None where its last move was not one."""
        for move in reversed(self.moves):
            if move.version == version:
                return None
            if move.action == "rollback" and move.came_from == version:
                return move
        return None

    def _moved(self, action: str, pointer: Pointer, earlier: list[Pointer], **why: Any) -> Channel:
        before = self.pointer.version if self.pointer is not None else None
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        move = Move(action, pointer.version, before, now, who(), **why)
        moves = (*self.moves, move)[-_MOVES_KEPT:]
        return Channel(self.name, pointer, tuple(earlier[:_EARLIER_KEPT]), moves, self.token)


def who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container's user need not have a name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def check_schema(value: object, where: str) -> None:
    """Raises IntegrityError, or UsageError for a later schema version."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise IntegrityError(f"{where} is damaged: it has no schema version")
    if not 1 <= version <= SCHEMA_VERSION:
        raise UsageError(f"{where} has schema version {version}; this version of catalog-indexer reads 1 and 2")


def channel_url(root: str, channel: str) -> str:
    """Where the file of a channel is."""
    return storage.join(root, "channels", f"{check_name('--channel', channel)}.json")


def read_channel(root: str, channel: str) -> Channel:
    """A channel; one without a pointer where there is none yet. One request, whatever the size of the index."""
    url = channel_url(root, channel)
    data, token = storage.read_with_token(url)
    return Channel(channel) if data is None else Channel.from_bytes(channel, data, token, url)


def channel_names(root: str) -> list[str]:
    """The channels that there are."""
    return [storage.name_of(url).removesuffix(".json") for url in storage.list_files(storage.join(root, "channels"))]


def write_channel(root: str, channel: Channel) -> None:
    """Moves a channel, in one write, if it is still the one that was read.

    Raises:
        ConflictError: somebody else moved it meanwhile.
    """
    assert channel.pointer is not None
    try:
        storage.compare_and_swap(channel_url(root, channel.name), channel.to_bytes(), channel.token)
    except ConflictError:
        there = read_channel(root, channel.name).pointer
        if there == channel.pointer:
            return  # Somebody else wanted the same.
        where = f"to version {there.version} " if there else ""
        moved = f"channel {channel.name} was moved {where}by another publisher in the meantime"
        if channel.moves and channel.moves[-1].action == "rollback":
            raise ConflictError(
                f"{moved} and did not go back; look at it, and roll it back again if it should"
            ) from None
        raise ConflictError(
            f"{moved}; version {channel.pointer.version} is published but not on it: look at both, and promote it if "
            "it is the better"
        ) from None
