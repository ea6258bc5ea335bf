"""What a cluster's workers wrote for one another, as the engine itself counts it."""

from __future__ import annotations

import json
from typing import Any

from tests.engines.flink_cluster import FlinkCluster
from tests.engines.spark_cluster import SparkCluster


def shuffled_bytes(cluster: FlinkCluster | SparkCluster) -> float:
    """Bytes of all jobs so far: of Flink what the vertices of finished jobs wrote, of Spark its shuffle writes."""
    if isinstance(cluster, SparkCluster):
        lines = (line for log in cluster.event_logs.glob("*") for line in log.read_text().splitlines())
        return float(sum(_written(json.loads(line)) for line in lines if "Shuffle Write Metrics" in line))
    jobs = [each["jid"] for each in cluster.ask("/jobs/overview")["jobs"]]
    vertices = [vertex for job in jobs for vertex in cluster.ask(f"/jobs/{job}")["vertices"]]
    return float(sum(vertex["metrics"]["write-bytes"] for vertex in vertices))


def _written(event: dict[str, Any]) -> int:
    metrics = event.get("Task Metrics") or {}
    return int(metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0))
