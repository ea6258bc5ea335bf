"""What Prometheus is told of an index that is served."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from catalog.extras import require

if TYPE_CHECKING:
    from index_builder.consuming.live_index import LiveIndex

_PREFIX = "catalog_indexer_"


def metrics_text(live: LiveIndex) -> str:
    """The metrics of one index, in the text format. Raises MissingExtraError."""
    client = _client()
    registry = client.CollectorRegistry()
    register(live, registry)
    return str(client.generate_latest(registry).decode())


def register(live: LiveIndex, registry: Any = None) -> None:
    """Adds the metrics of an index to a registry, the default one if None. Raises MissingExtraError."""
    (_client().REGISTRY if registry is None else registry).register(_Collector(live))


@functools.cache
def _client() -> Any:
    require("prometheus_client")
    import prometheus_client
    import prometheus_client.core

    return prometheus_client


class _Collector:
    """Reads an index when Prometheus asks."""

    def __init__(self, live: LiveIndex) -> None:
        self._live = live

    def describe(self) -> list[Any]:
        """Nothing is asked of the index when it is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        core, live = _client().core, self._live
        manifest, channel = live.manifest, live.channel
        of_index = [manifest.name, channel]

        def gauge(name: str, says: str, value: float | None, **more: str) -> Any:
            metric = core.GaugeMetricFamily(_PREFIX + name, says, labels=["name", "channel", *more])
            if value is not None:
                metric.add_metric([*of_index, *more.values()], value)
            return metric

        def counter(name: str, says: str, *values: tuple[int, dict[str, str]]) -> Any:
            metric = core.CounterMetricFamily(_PREFIX + name, says, labels=["name", "channel", *values[0][1]])
            for value, more in values:
                metric.add_metric([*of_index, *more.values()], value)
            return metric

        yield gauge("serving_version_info", "The version that is served.", 1, version=manifest.version)
        yield gauge("serving_version_age_seconds", "Since that version was built.", live.age_seconds)
        yield gauge("load_seconds", "What that version took to download, verify and warm up.", live.load_seconds)
        yield counter("swaps", "Versions that took another's place.", (live.swaps, {}))
        kinds = [(count, {"kind": kind}) for kind, count in live.failures_by_kind.items()]
        yield counter("load_failures", "Looks and versions that came to nothing.", *kinds)
        yield counter("polls", "Looks at the channel.", (live.polls, {}))
        said = "When the channel was last read."
        yield gauge("last_successful_poll_timestamp_seconds", said, live.last_poll)
