"""What a Flink cluster says of itself, asked of its job manager before anything is submitted."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

from pipelines.engine_presets import FlinkCluster

_SECONDS = 2.0
# Answers are a few hundred bytes.
_MOST_BYTES = 1 << 16


def ask(master: str, seconds: float = _SECONDS) -> FlinkCluster | None:
    """Version and slots of the cluster at `master`, `HOST:PORT` or `http://HOST:PORT`; None where nothing that is Flink
    answers within `seconds`, which is no error: the job server may reach what this machine does not."""
    try:
        place = urllib.parse.urlsplit(master if "://" in master else f"http://{master}")
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.hostname or "", place.port, timeout=seconds)
        try:
            version = _get(connection, f"{place.path.rstrip('/')}/config").get("flink-version")
            slots = _get(connection, f"{place.path.rstrip('/')}/overview").get("slots-total", 0)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return FlinkCluster(version, int(slots)) if isinstance(version, str) else None


def _get(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
    connection.request("GET", path, headers={"Accept": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read(_MOST_BYTES)) if answer.status == 200 else None
    return found if isinstance(found, dict) else {}
