"""What every benchmark prints: where it ran, the rates, and the ratios that can be compared between machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable
from typing import Any


def interleaved(rounds: int, measured: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Runs each measurement once a round, in turn, so that a noisy neighbour disturbs all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            found[name].append(measure())
    return found


def ratio(one: list[float], other: list[float]) -> float:
    """Median of the ratios of each round."""
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)


def print_report(benchmark: str, as_json: bool, **values: Any) -> None:
    """Prints one object: on one line with `as_json`, indented otherwise."""
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    report = {"benchmark": benchmark, **machine, **values}
    print(json.dumps(report) if as_json else json.dumps(report, indent=2))
