"""A Flink session cluster: a job manager and task managers of one slot each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.engines.processes import Processes, answers, free_port, require_engine, wait_until
from tests.engines.worker import Worker

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# What Flink's own shell scripts work out of the size of a process.
_TASK_MANAGER_MEMORY = {
    "taskmanager.cpu.cores": "1",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "192m",
    "taskmanager.memory.network.max": "192m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}


class FlinkCluster:
    """See the module.

    Args:
        folder: for its logs and files; it is made.
        workers: how many.
        a_core_each: whether each of them, with its Python worker, has a core of its own and no other.
    """

    name = "flink"

    def __init__(self, folder: Path, workers: int, a_core_each: bool = False) -> None:
        folder.mkdir()
        jars = require_engine(self.name)
        self._classpath = f"{jars}/jars/*"
        self._job_server = jars / "job-server.jar"
        self._processes = Processes(folder)
        self.worker = Worker(folder)
        # What a job ships instead of the jars of the job server, 300 MB: all processes here have those on their path.
        self._nothing = folder / "nothing"
        self._nothing.write_text("nothing\n")
        self.workers = workers
        self._started = 0
        self._a_core_each = a_core_each
        (folder / "conf").mkdir()
        (folder / "tmp").mkdir()
        self._rpc, self._rest = free_port(), free_port()
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": str(self._rpc),
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": "700m",
            "rest.port": str(self._rest),
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": "1",
            "heartbeat.interval": "1000",
            "heartbeat.timeout": "8000",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "5",
            "restart-strategy.fixed-delay.delay": "1s",
            "classloader.resolve-order": "parent-first",
            "io.tmp.dirs": str(folder / "tmp"),
            **_TASK_MANAGER_MEMORY,
        }
        lines = [f"{name}: {value}" for name, value in settings.items()]
        (folder / "conf" / "flink-conf.yaml").write_text("\n".join(lines) + "\n")
        self._folder = folder

    def start(self) -> None:
        """Returns when all task managers have reported."""
        conf = ["--configDir", str(self._folder / "conf")]
        self._processes.start_java("job-manager", self._classpath, _JOB_MANAGER, conf, "512m", {})
        for _ in range(self.workers):
            self.start_worker()
        wait_until(lambda: self.slots() == self.workers, f"a Flink cluster with {self.workers} slots")

    def start_worker(self) -> None:
        """One task manager more."""
        self._started += 1
        conf = ["--configDir", str(self._folder / "conf")]
        core = (self._started - 1) % (os.cpu_count() or 1) if self._a_core_each else None
        name = f"task-manager-{self._started}"
        self._processes.start_java(name, self._classpath, _TASK_MANAGER, conf, "512m", {}, core)

    def kill_worker(self) -> None:
        """SIGKILL to the task manager that was started last."""
        self._processes.kill(f"task-manager-{self._started}")

    def slots(self) -> int:
        """How many slots have reported."""
        return int(self.ask("/overview").get("slots-total", 0))

    def ask(self, path: str) -> dict[str, Any]:
        """What the job manager's REST API says; nothing while it does not answer."""
        said = answers(f"http://127.0.0.1:{self._rest}{path}")
        return dict(json.loads(said)) if said else {}

    def beam_arguments(self) -> list[str]:
        """Beam's flags for a job on this cluster."""
        return [
            f"--flink_master=127.0.0.1:{self._rest}",
            f"--flink_job_server_jar={self._job_server}",
            f"--parallelism={self.workers}",
            "--job_server_jvm_properties=-XX:TieredStopAtLevel=1",
            f"--files_to_stage={self._nothing}",
            *self.worker.beam_arguments(),
        ]

    def stop(self) -> None:
        """Ends all, also Python workers that outlived what had started them."""
        self._processes.stop()
        while self.worker.kill_one():
            pass
