"""What Prometheus is told of the indexes that are served."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from catalog.extras import require

if TYPE_CHECKING:
    from index_builder.consuming.live_index import LiveIndex

_PREFIX = "catalog_indexer_"
_GAUGE, _COUNTER = "GaugeMetricFamily", "CounterMetricFamily"


def metrics_text(live: LiveIndex) -> str:
    """The metrics of one index, in the text format. Raises MissingExtraError."""
    client = _client()
    registry, collector = client.CollectorRegistry(), _Collector()
    collector.add(live)
    registry.register(collector)
    return str(client.generate_latest(registry).decode())


def register(live: LiveIndex, registry: Any = None) -> None:
    """Adds the metrics of an index to a registry, the default one if None. Raises MissingExtraError."""
    registry = _client().REGISTRY if registry is None else registry
    with _registering:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _collectors[registry] = _Collector()
            registry.register(collector)
        collector.add(live)


def leave(live: LiveIndex) -> None:
    """Takes an index out of all registries that it is in."""
    with _registering:
        for collector in _collectors.values():
            collector.remove(live)


@functools.cache
def _client() -> Any:
    require("prometheus_client")
    import prometheus_client
    import prometheus_client.core

    return prometheus_client


class _Collector:
    """Reads indexes when Prometheus asks. One a registry, for a metric is described once, before all its samples."""

    def __init__(self) -> None:
        self._lives: list[LiveIndex] = []

    def add(self, live: LiveIndex) -> None:
        """Once: again does nothing."""
        if live not in self._lives:
            self._lives = [*self._lives, live]

    def remove(self, live: LiveIndex) -> None:
        """If it is there."""
        self._lives = [each for each in self._lives if each is not live]

    def describe(self) -> list[Any]:
        """Nothing is asked of the indexes when the first is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        # Of two with the same labels, which are no two series, the later one.
        lives = list({(live.manifest.name, live.channel): live for live in self._lives}.values())
        for kind, name, says, more, read in _FAMILIES if lives else ():
            family = getattr(_client().core, kind)(_PREFIX + name, says, labels=["name", "channel", *more])
            for live in lives:
                for value, *labels in read(live):
                    family.add_metric([live.manifest.name, live.channel, *labels], value)
            yield family


# Kind, name, what it says, labels besides those of the index, and what one index says: values, each with its labels.
_FAMILIES: tuple[tuple[str, str, str, tuple[str, ...], Callable[[LiveIndex], list[Any]]], ...] = (
    (_GAUGE, "serving_version_info", "The version that is served.", ("version",), lambda live: [(1, live.version)]),
    (_GAUGE, "serving_version_age_seconds", "Since that version was built.", (), lambda live: [(live.age_seconds,)]),
    (_GAUGE, "load_seconds", "What it took to download, verify and warm up.", (), lambda live: [(live.load_seconds,)]),
    (_COUNTER, "swaps", "Versions that took another's place.", (), lambda live: [(live.swaps,)]),
    (
        _COUNTER,
        "load_failures",
        "Looks and versions that came to nothing.",
        ("kind",),
        lambda live: [(count, kind) for kind, count in live.failures_by_kind.items()],
    ),
    (_COUNTER, "polls", "Looks at the channel.", (), lambda live: [(live.polls,)]),
    (
        _GAUGE,
        "last_successful_poll_timestamp_seconds",
        "When the channel was last read.",
        (),
        lambda live: [(live.last_poll,)] if live.last_poll is not None else [],
    ),
)
# By registry, as long as there is one.
_collectors: weakref.WeakKeyDictionary[Any, _Collector] = weakref.WeakKeyDictionary()
_registering = threading.Lock()
