"""What a Flink cluster says of itself, of servers that answer as Flink does, otherwise, or not at all."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from catalog.errors import UsageError
from pipelines.engine_presets import FlinkCluster
from pipelines.flink_cluster import ask
from pipelines.runner import pipeline_options

Serve = Callable[[dict[str, Any]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server on loopback that answers paths with JSON, others with 404; gives its HOST:PORT."""
    servers = []

    def start(answers: dict[str, Any]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = answers.get(self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


FLINK = {"/config": {"flink-version": "1.20.1", "refresh-interval": 3000}, "/overview": {"slots-total": 4}}


def test_a_cluster_tells_its_version_and_its_slots(serve: Serve) -> None:
    master = serve(FLINK)
    assert ask(master) == ask(f"http://{master}") == ask(f"http://{master}/") == FlinkCluster("1.20.1", 4)
    assert ask(f"http://{serve({f'/flink{path}': said for path, said in FLINK.items()})}/flink") is not None
    assert ask(serve({"/config": {"flink-version": "2.2.0"}})) == FlinkCluster("2.2.0", 0)


@pytest.mark.parametrize("answers", [{}, {"/config": {}}, {"/config": b"<html>"}, {"/config": [1]}])
def test_what_is_no_flink_tells_nothing(serve: Serve, answers: dict[str, Any]) -> None:
    assert ask(serve(answers)) is None


def test_a_cluster_that_is_silent_or_gone_tells_nothing_and_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert ask(f"127.0.0.1:{silent.getsockname()[1]}", seconds=0.2) is None
        assert time.monotonic() - began < 2
        gone = silent.getsockname()[1]
    for master in (f"127.0.0.1:{gone}", "127.0.0.1:no", "http://[::1", ""):
        assert ask(master, seconds=0.2) is None


def test_a_job_for_another_version_than_the_cluster_has_is_refused_and_names_both(serve: Serve) -> None:
    master = serve(FLINK)
    flags = [f"--flink_master={master}", "--runner=FlinkRunner"]
    with pytest.raises(UsageError, match=rf"^--flink_version=2.1, and the cluster at {master} is Flink 1.20.1; they "):
        pipeline_options([*flags, "--flink_version=2.1"])
    said: list[str] = []
    options = pipeline_options(flags, "flink", say=said.append).view_as(FlinkRunnerOptions)
    assert (options.flink_version, options.parallelism) == ("1.20", 4)
    assert said[0].startswith(
        "engine flink: --flink_version=1.20 --parallelism=4 --execution_mode_for_batch=BATCH_FORC"
    )


def test_a_cluster_of_a_version_that_beam_has_no_job_server_for_is_refused(serve: Serve) -> None:
    master = serve({**FLINK, "/config": {"flink-version": "1.14.6"}})
    with pytest.raises(
        UsageError, match=rf"^the cluster at {master} is Flink 1.14.6, and Beam has job servers for 1.19"
    ):
        pipeline_options([f"--flink_master={master}"], "flink")
