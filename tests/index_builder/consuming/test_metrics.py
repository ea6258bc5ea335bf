from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from catalog.errors import MissingExtraError, UsageError
from index_builder.catalog_index import CatalogIndex
from index_builder.consuming import metrics
from index_builder.consuming.failures import KINDS
from tests.index_builder.consuming.shops import flip, point_channel, publish_shop

OF = {"name": "shop", "channel": "prod"}


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Value by name and labels, as Prometheus reads them."""
    return {
        (sample.name.removeprefix("catalog_indexer_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_prometheus_reads_is_what_happened(tmp_path: Path) -> None:
    publish_shop(tmp_path, "v1", seed=1)
    registry = CollectorRegistry()
    with CatalogIndex.open(str(tmp_path), "shop").watch(every=1e6) as live:
        live.register(registry)

        def value(name: str, **labels: str) -> float | None:
            found = values(live.metrics()).get((name, frozenset({**OF, **labels}.items())))
            in_registry = registry.get_sample_value(f"catalog_indexer_{name}", {**OF, **labels})
            assert found == pytest.approx(in_registry, abs=60) if found is not None else in_registry is None
            return found

        assert value("serving_version_info", version="v1") == 1
        assert value("last_successful_poll_timestamp_seconds") is None
        assert value("swaps_total") == value("polls_total") == 0
        publish_shop(tmp_path, "v2", seed=2)
        live.poll()
        publish_shop(tmp_path, "v3", seed=3, move_channel=False)
        flip(tmp_path / "shop/versions/v3/items.arrow", 999)
        point_channel(tmp_path, "v3")
        live.poll()
        assert value("serving_version_info", version="v1") is None
        assert value("serving_version_info", version="v2") == 1
        assert value("serving_version_age_seconds") == pytest.approx(live.age_seconds, abs=60)
        assert value("load_seconds") == live.load_seconds > 0
        assert (value("swaps_total"), value("polls_total")) == (1, 2)
        kinds = {kind: value("load_failures_total", kind=kind) for kind in live.failures_by_kind}
        assert kinds == {"close": 0, "corrupt": 1, "disk": 0, "encoder": 0, "other": 0, "store": 0}
        assert value("last_successful_poll_timestamp_seconds") == pytest.approx(time.time(), abs=60)


def test_many_indexes_in_one_registry_are_one_exposition_and_a_closed_one_leaves_it(tmp_path: Path) -> None:
    publish_shop(tmp_path, "v1", seed=1)
    point_channel(tmp_path, "v1", "canary")
    registry, places = CollectorRegistry(), (str(tmp_path), "shop")

    def told() -> set[str]:
        """Channels of which every metric that has a value is told, each metric being described once."""
        lines = generate_latest(registry).decode().splitlines()
        described = [line for line in lines if line.startswith("# ")]
        assert len(described) == len(set(described))
        samples = [line.split(" ")[0] for line in lines if not line.startswith("# ")]
        assert len(samples) == len(set(samples))
        channels = {channel for channel in ("prod", "canary") if f'channel="{channel}"' in str(samples)}
        assert len(samples) == len(channels) * len([*KINDS, "info", "age", "load", "swaps", "polls"])
        assert len(described) == (14 if channels else 0)
        return channels

    first = CatalogIndex.open(*places).watch(every=1e6)
    first.register(registry)
    first.register(registry)
    assert told() == {"prod"}
    second = CatalogIndex.open(*places, "canary").watch(every=1e6)
    second.register(registry)
    assert told() == {"prod", "canary"}
    later = CatalogIndex.open(*places).watch(every=1e6)
    later.poll()
    later.register(registry)  # Since then of both the later one.
    assert registry.get_sample_value("catalog_indexer_polls_total", OF) == 1
    first.close()
    assert registry.get_sample_value("catalog_indexer_polls_total", OF) == 1
    later.close()
    assert told() == {"canary"}
    second.close()
    assert told() == set()
    with pytest.raises(UsageError, match="the index is closed"):
        second.register(registry)
    with CatalogIndex.open(*places).watch(every=1e6) as again:
        again.register(registry)
        assert told() == {"prod"}


def test_without_the_library_one_is_told_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_shop(tmp_path)
    metrics._client.cache_clear()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        CatalogIndex.open(str(tmp_path), "shop").watch(every=1e6) as live,
        pytest.raises(MissingExtraError, match=r"pip install '\.\[metrics\]'"),
    ):
        live.metrics()
