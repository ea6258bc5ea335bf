"""What went wrong while a newer version was looked for or loaded, and when that version is tried again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from catalog.channel import Pointer
from catalog.errors import EncoderMismatchError, IntegrityError
from catalog.storage import redact_text
from index_builder.consuming.cache import NoSpaceError

#: Kinds of failures, as they are counted.
KINDS = ("close", "corrupt", "disk", "encoder", "other", "store")
# A version that could not be loaded is tried again after twice as long each time, within the hour at the latest.
_LONGEST_PAUSE = 3600.0
# Beyond which a doubled pause is the longest one, however short the first was, and is no number any more.
_MOST_DOUBLINGS = 100


def kind_of(error: Exception) -> str:
    """`corrupt`: not what was published, or not whole; `encoder`: another one; `disk`: no room for it here; `store`:
    the store, or the way to it; `other`. (`close` has its own note.)"""
    if isinstance(error, IntegrityError):
        return "corrupt"
    if isinstance(error, EncoderMismatchError):
        return "encoder"
    if isinstance(error, NoSpaceError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "disk"
    return "store" if isinstance(error, OSError) else "other"


class Failures:
    """Failures of one consumer.

    Attributes:
        by_kind: how many there were.
        last: what the latest was; None once all was well again.

    Args:
        every: seconds between two looks.
        clock: seconds, of a clock that only goes on.
    """

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.by_kind = dict.fromkeys(KINDS, 0)
        self.last: str | None = None
        self._every = every
        self._clock = clock
        self._refused: Pointer | None = None
        self._times = 0
        self._not_before = 0.0

    def note(self, error: Exception, pointer: Pointer | None = None) -> None:
        """Counts a failure, of a version if there was one."""
        self.by_kind[kind_of(error)] += 1
        text = redact_text(f"{error}" or type(error).__name__)
        self.last = f"version {pointer.version}: {text}" if pointer is not None else text
        if pointer is None:
            return
        self._times = self._times + 1 if pointer == self._refused else 1
        self._refused = pointer
        pause = min(self._every * 2.0 ** min(self._times, _MOST_DOUBLINGS), max(self._every, _LONGEST_PAUSE))
        self._not_before = self._clock() + pause

    def note_close(self, error: Exception, version: str) -> None:
        """Counts a version that was replaced and could not be closed."""
        self.by_kind["close"] += 1
        self.last = f"version {version} was not closed: {redact_text(f'{error}' or type(error).__name__)}"

    def is_due(self, pointer: Pointer) -> bool:
        """Whether a version is to be tried, for the first time or again."""
        return pointer != self._refused or self._clock() >= self._not_before

    def forget(self) -> None:
        """All is well."""
        self.last, self._refused, self._times = None, None, 0
