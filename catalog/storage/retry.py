"""Trying again what may pass: exponential backoff with full jitter, bounded by attempts and by a budget.

A budget keeps a store that is down from being asked five times as often as one that is up: each success earns a
fraction of a retry, and when the budget is spent a failure is final at once (the scheme of gRPC's retry throttling,
proposal A6).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from catalog.storage.base import TransientError

_Result = TypeVar("_Result")


class RetryBudget:
    """How many retries a process may still make. Full at the start, thread-safe."""

    def __init__(self, most: float = 200.0, earned: float = 0.1) -> None:
        """
        Args:
            most: retries in a full budget.
            earned: retries that one success gives back.
        """
        self._most = most
        self._earned = earned
        self._left = most
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        with self._lock:
            self._left = min(self._most, self._left + self._earned)

    def spend(self) -> bool:
        """Takes one retry; False when none is left."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon.

    Attributes:
        attempts: tries of one operation, the first included.
        first_delay: seconds; the longest wait before the second attempt. Doubles with each attempt.
        longest_delay: seconds; no wait is longer, also not one that a server asks for.
    """

    attempts: int = 5
    first_delay: float = 0.2
    longest_delay: float = 20.0

    def delay(self, failures: int, asked: float | None, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after the given number of failures (1 or more); `asked` is what the server asked for."""
        longest = min(self.longest_delay, self.first_delay * 2 ** (failures - 1))
        return min(self.longest_delay, max(draw() * longest, asked or 0.0))


class Retrier:
    """Runs operations under one policy, with a budget for each host or bucket, and counts the retries."""

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        budget: Callable[[], RetryBudget] = RetryBudget,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self._new_budget = budget
        self._budgets: dict[str, RetryBudget] = {}
        self.retries = 0
        self._sleep = sleep

    def __call__(self, operation: Callable[[int], _Result], url: str = "") -> _Result:
        """The result of `operation` on `url`, which is told how many attempts failed before. Raises its last error."""
        failures = 0
        budget = self._budgets.setdefault("/".join(url.split("/", 3)[:3]), self._new_budget())
        while True:
            try:
                result = operation(failures)
            except (TransientError, TimeoutError) as error:
                failures += 1
                if failures >= self.policy.attempts or not budget.spend():
                    raise
                self.retries += 1
                self._sleep(self.policy.delay(failures, getattr(error, "retry_after", None)))
            else:
                budget.succeeded()
                return result
