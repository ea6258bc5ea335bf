"""Questions asked by many threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_THREADS = 8


def wrong_at_once(questions: int, is_right: Callable[[int], bool], turns: int) -> list[int]:
    """The numbers of those of so many questions whose answers are not what they should be while eight threads, which
    begin at different ones, ask `turns` each. What a thread raises is raised."""
    together = threading.Barrier(_THREADS)

    def ask(first: int) -> list[int]:
        together.wait(60)
        numbers = [(3 * first + turn) % questions for turn in range(turns)]
        return [number for number in numbers if not is_right(number)]

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(ask, range(_THREADS), timeout=120))
    return sorted({number for some in found for number in some})
