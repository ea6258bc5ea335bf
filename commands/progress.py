"""Progress for people: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pipelines.progress import Progress

_WIDTH = 30
_SECONDS_BETWEEN_LINES = 60.0


class ProgressReport:
    """Shows the progress of one job on `stream`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._last_line = time.monotonic()
        self._drawn = False

    def __call__(self, progress: Progress) -> None:
        """Draws the bar, or writes a line when the last one is a minute old."""
        if progress.stage:
            text = f"{progress.stage}, {100 * progress.done // progress.total} %{_left(progress.seconds_left)}"
        else:
            text = (
                f"{progress.done} of {progress.total} partitions, {progress.rows_per_second:,.0f} rows/s"
                f"{_left(progress.seconds_left)}"
            )
        if self._stream.isatty():
            filled = _WIDTH * progress.done // progress.total
            self._stream.write(f"\r[{'#' * filled}{'.' * (_WIDTH - filled)}] {text}\x1b[K")
            self._stream.flush()
            self._drawn = True
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Takes the bar away again."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f", {hours}:{minutes:02d}:{rest:02d} left" if hours else f", {minutes}:{rest:02d} left"
