"""`--engine`: the flags of Beam that are easy to get wrong, filled in for each engine. What is given explicitly wins.

`docs/engines.md` says why each has its value. What may not be combined is in `pipelines.engine_checks`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import UsageError
from pipelines.flag_types import without_secrets

ENGINES = ("local", "spark", "flink", "dataflow")

# `DirectRunner` would look for Prism, a binary that it downloads; this one is the Python runner that it falls back to.
LOCAL_RUNNER = "FnApiRunner"
_RUNNERS = {"local": LOCAL_RUNNER, "spark": "SparkRunner", "flink": "FlinkRunner", "dataflow": "DataflowRunner"}
# How runners are named in lower case, without "runner".
_ENGINE_OF = {
    "fnapi": "local",
    "direct": "local",
    "switchingdirect": "local",
    "bundlebaseddirect": "local",
    "prism": "local",
    "spark": "spark",
    "flink": "flink",
    "dataflow": "dataflow",
    "testdataflow": "dataflow",
}
BOOT = "/opt/apache/beam/boot"
ONE_PROCESS = "no_use_multiple_sdk_containers"
# Without the variable, boot makes a virtual environment for every worker, where the image's user may not write.
_PROCESS = json.dumps({"command": BOOT, "env": {"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1"}}, separators=(",", ":"))
_TEN_MINUTES = 600_000  # In milliseconds.
_A_MONTH = 30 * 86_400  # In seconds.
# Beam stages a list of the launcher's packages for every job that is not local, out of a temporary folder of this
# machine, which the workers of others do not see; and boot makes an environment wherever anything is staged.
_STAGE_NOTHING = "disable_logging_submission_environment"
_LOOPBACK_HOST = re.compile(r"^(localhost|127(\.\d+){3}|::1)$")


@dataclass(frozen=True)
class Job:
    """What a job asks of an engine.

    Attributes:
        hints: resource hints of its steps, `accelerator` and `min_ram`.
        places: what its workers read and write, path or URL, each with the flag that names it.
        encoder: SPEC of what its workers load, if they do: its files may be in their image.
    """

    hints: Mapping[str, str] = field(default_factory=dict)
    places: Sequence[tuple[str, str]] = ()
    encoder: str | None = None


@dataclass(frozen=True)
class FlinkCluster:
    """What a Flink cluster says of itself: its version, `1.20.1`, and how many tasks it runs at once."""

    version: str
    slots: int


def runner_name(runner: str) -> str:
    """A runner as it is compared: `prism` for `PrismRunner`, `prismrunner` and the name with its module."""
    return runner.rsplit(".", 1)[-1].lower().removesuffix("runner")


def engine_of(engine: str | None, runner: str | None) -> str | None:
    """The engine that a job runs on: what was asked for, or else what the runner is of; None for a runner that is of
    none of them. Raises UsageError where the two differ."""
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"--engine {engine} is unknown; expected one of {', '.join(ENGINES)}")
    if runner is None:
        return engine or "local"
    name = runner_name(runner)
    if name == "portable":
        return engine
    found = _ENGINE_OF.get(name)
    if engine is not None and engine != found:
        raise UsageError(
            f"--engine {engine} runs on {_RUNNERS[engine]}, and --runner={runner} on another; leave one out"
        )
    return found


def presets(
    engine: str | None, given: Mapping[str, Any], job: Job, cluster: FlinkCluster | None = None
) -> dict[str, Any]:
    """What is filled in for an engine: values by the name of Beam's option.

    Args:
        engine: one of `ENGINES`, or None, for which nothing is.
        given: the options that were given explicitly, which are left out.
        job: the job.
        cluster: what a Flink cluster answered, if it did.
    """
    wanted: dict[str, Any] = {"runner": _RUNNERS[engine]} if engine else {}
    if engine == "local":
        wanted |= _prism(given)
    elif engine == "spark":
        wanted |= _workers(given, is_local_master(engine, given))
    elif engine == "flink":
        if cluster is not None:
            wanted["flink_version"] = short_version(cluster.version)
            if cluster.slots > 0:
                wanted["parallelism"] = cluster.slots
        version = given.get("flink_version", wanted.get("flink_version", ""))
        if version.startswith("1."):
            wanted["execution_mode_for_batch"] = "BATCH_FORCED"
        wanted |= _workers(given, is_local_master(engine, given))
    elif engine == "dataflow":
        wanted |= _dataflow(given, job)
    filled = {name: value for name, value in wanted.items() if name not in given}
    if "experiments" in wanted:
        filled["experiments"] = _not_decided(wanted["experiments"], given.get("experiments", ()))
    return {name: value for name, value in filled.items() if value != []}


def _prism(given: Mapping[str, Any]) -> dict[str, Any]:
    if runner_name(given.get("runner", LOCAL_RUNNER)) != "prism":
        return {}
    found = shutil.which("prism") if "prism_beam_version_override" not in given else None
    wanted = {"prism_log_level": "warn", "job_server_timeout": _A_MONTH}
    return wanted | ({"prism_location": found} if found else {})


def _workers(given: Mapping[str, Any], local: bool) -> dict[str, Any]:
    """Where a portable runner runs the project's code, and for how long it keeps it running."""
    kind = given.get("environment_type", "LOOPBACK" if local else "PROCESS")
    wanted: dict[str, Any] = {"environment_type": kind}
    if kind == "PROCESS" and not given.get("environment_options"):
        wanted["environment_config"] = _PROCESS
    wanted |= {"sdk_worker_parallelism": 1, "environment_cache_millis": _TEN_MINUTES}
    return {**wanted, "experiments": [_STAGE_NOTHING]}


def _dataflow(given: Mapping[str, Any], job: Job) -> dict[str, Any]:
    wanted: dict[str, Any] = {"sdk_location": "container", "disk_size_gb": 100, "save_main_session": False}
    experiments = ["disable_worker_container_image_prepull", _STAGE_NOTHING]
    if accelerators(given, job):
        if not shares_gpus(given, job):
            experiments.append(ONE_PROCESS)
        wanted["number_of_worker_harness_threads"] = 2
    return {**wanted, "experiments": experiments}


def _not_decided(wanted: Iterable[str], given: Sequence[str]) -> list[str]:
    """Experiments add up; one that was given, or whose contrary was, is not filled in."""
    said = {each.removeprefix("no_") for each in given}
    return [each for each in wanted if each.removeprefix("no_") not in said]


def accelerators(given: Mapping[str, Any], job: Job) -> dict[str, str]:
    """The flags that ask for GPUs, and what they ask for."""
    asked = {"--accelerator": job.hints["accelerator"]} if "accelerator" in job.hints else {}
    for option, prefix in (("resource_hints", "accelerator="), ("dataflow_service_options", "worker_accelerator=")):
        for each in given.get(option, ()):
            if each.startswith(prefix):
                asked[f"--{option}={prefix}…"] = each.removeprefix(prefix)
    return asked


def shares_gpus(given: Mapping[str, Any], job: Job) -> bool:
    """Whether NVIDIA's server is asked for, through which the processes of a machine share its GPU."""
    return any("use_nvidia_mps" in each.split(";") for each in accelerators(given, job).values())


def is_local_master(engine: str | None, given: Mapping[str, Any]) -> bool:
    """Whether Spark or Flink is started inside of Beam's job server, on this machine."""
    if given.get("job_endpoint"):
        return False
    if engine == "spark":
        return re.match(r"local(\[|$)", given.get("spark_master_url", "")) is not None
    return engine == "flink" and given.get("flink_master", "") in ("[local]", "[auto]", "[collection]")


def is_on_this_machine(engine: str | None, given: Mapping[str, Any]) -> bool:
    """Whether the workers are on this machine, as far as the address of their master tells."""
    if engine in ("spark", "flink"):
        return is_local_master(engine, given) or _LOOPBACK_HOST.match(_host(engine, given)) is not None
    return engine == "local"


def _host(engine: str, given: Mapping[str, Any]) -> str:
    address = given.get("job_endpoint") or given.get("spark_master_url" if engine == "spark" else "flink_master") or ""
    return re.sub(r"^\w+://", "", address).split("/")[0].rsplit(":", 1)[0].strip("[]")


def short_version(version: str) -> str:
    """`1.20` of `1.20.1`: what Beam has job servers for."""
    return ".".join(version.split(".")[:2])


def flags_of(options: Mapping[str, Any]) -> list[str]:
    """Options as flags of Beam."""
    flags: list[str] = []
    for name, value in options.items():
        if name == "save_main_session":
            flags.append("--save_main_session" if value else "--no_save_main_session")
        else:
            flags += [f"--{name}={each}" for each in (value if isinstance(value, list) else [value])]
    return flags


def told(engine: str, filled: Mapping[str, Any]) -> str:
    """One line of what is filled in, as a shell takes it."""
    return f"engine {engine}: {shlex.join(without_secrets(flags_of(filled))) or 'every flag was given'}"
