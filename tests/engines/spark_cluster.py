"""A Spark standalone cluster: a master and workers of one core each."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.engines.processes import Processes, answers, free_port, require_engine, wait_until
from tests.engines.worker import Worker

_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"


class SparkCluster:
    """See the module.

    Args:
        folder: for its logs and files; it is made.
        workers: how many.
        a_core_each: whether each of them, with its Python worker, has a core of its own and no other.
    """

    name = "spark"

    def __init__(self, folder: Path, workers: int, a_core_each: bool = False) -> None:
        folder.mkdir()
        self._home = require_engine(self.name)
        self._folder = folder
        self._processes = Processes(folder)
        self._started = 0
        self._a_core_each = a_core_each
        self.worker = Worker(folder)
        # What a job ships instead of the jars of the job server, 300 MB: all processes here have those on their path.
        self._nothing = folder / "nothing"
        self._nothing.write_text("nothing\n")
        self.event_logs = folder / "events"
        self.event_logs.mkdir()
        self.workers = workers
        self._port, self._page = free_port(), free_port()
        self.master = f"spark://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when all workers have reported."""
        places = ["--host", "127.0.0.1", "--port", str(self._port), "--webui-port", str(self._page)]
        self._start("master", _MASTER, places)
        wait_until(lambda: answers(f"http://127.0.0.1:{self._page}/json/") is not None, "a Spark master")
        for _ in range(self.workers):
            self.start_worker()
        wait_until(lambda: self.alive() == self.workers, f"a Spark cluster with {self.workers} workers")

    def start_worker(self) -> None:
        """One worker more."""
        self._started += 1
        folder = self._folder / f"worker-{self._started}"
        size = ["--cores", "1", "--memory", "1g", "--host", "127.0.0.1", "--webui-port", "0"]
        core = (self._started - 1) % (os.cpu_count() or 1) if self._a_core_each else None
        self._start(f"worker-{self._started}", _WORKER, [*size, "--work-dir", str(folder), self.master], core)

    def kill_worker(self) -> None:
        """SIGKILL to the worker that was started last, and to its executor."""
        self._processes.kill(f"worker-{self._started}")

    def alive(self) -> int:
        """How many workers have reported."""
        said = answers(f"http://127.0.0.1:{self._page}/json/")
        return int(json.loads(said)["aliveworkers"]) if said else 0

    def beam_arguments(self) -> list[str]:
        """Beam's flags for a job on this cluster."""
        settings = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.cores": "1",
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "spark.ui.enabled": "false",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": f"file://{self.event_logs}",
            "spark.local.dir": str(self._folder / "local"),
        }
        return [
            f"--spark_master_url={self.master}",
            f"--spark_job_server_jar={self._home / 'job-server.jar'}",
            *(f"--job_server_jvm_properties=-D{name}={value}" for name, value in settings.items()),
            "--job_server_jvm_properties=-XX:TieredStopAtLevel=1",
            f"--files_to_stage={self._nothing}",
            *self.worker.beam_arguments(),
        ]

    def stop(self) -> None:
        """Ends all, also Python workers that outlived what had started them."""
        self._processes.stop()
        while self.worker.kill_one():
            pass

    def _start(self, name: str, main: str, arguments: list[str], core: int | None = None) -> None:
        env = {"SPARK_HOME": str(self._home), "SPARK_SCALA_VERSION": "2.12", "SPARK_LOCAL_IP": "127.0.0.1"}
        self._processes.start_java(name, f"{self._home}/jars/*", main, arguments, "256m", env, core)
