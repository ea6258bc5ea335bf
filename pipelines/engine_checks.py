"""Flags of Beam that cannot go together with an engine, refused with the reason before anything is submitted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from catalog import storage
from catalog.errors import UsageError
from encoders.registry import files_of
from pipelines.engine_presets import (
    BOOT,
    ONE_PROCESS,
    FlinkCluster,
    Job,
    accelerators,
    is_local_master,
    is_on_this_machine,
    runner_name,
    shares_gpus,
    short_version,
)

_HINT_FLAGS = {"accelerator": "--accelerator", "min_ram": "--worker-memory"}
# Flags that name an engine, and would be ignored by the others.
_MASTERS = {"spark_master_url": "spark", "flink_master": "flink"}
# What is staged from the launcher's disk.
_STAGED = ("setup_file", "requirements_file", "extra_packages", "files_to_stage")


def check(engine: str | None, options: Mapping[str, Any], job: Job, cluster: FlinkCluster | None = None) -> list[str]:
    """Raises UsageError for what would fail, or run otherwise than it was meant, once it is submitted.

    Args:
        engine: see `engine_presets.engine_of`.
        options: Beam's options, those that were given and those that were filled in.
        job: the job.
        cluster: what a Flink cluster answered, if it did.

    Returns:
        what may be meant and may not: sentences to tell.
    """
    _check_always(engine, options)
    if engine == "local":
        _check_prism(options)
    elif engine == "dataflow":
        _check_dataflow(options, job)
    elif engine in ("spark", "flink"):
        _check_hints(engine, options, job)
        if engine == "spark":
            _check_spark(options)
        else:
            _check_flink(options, cluster)
        _check_environment(engine, options)
    return _check_places(engine, options, job) + _ignored_hints(engine, job)


def _check_always(engine: str | None, options: Mapping[str, Any]) -> None:
    if options.get("save_main_session"):
        raise UsageError(
            "--save_main_session would pickle the launcher into every worker, which needs nothing of it; leave it out"
        )
    if options.get("streaming"):
        raise UsageError("--streaming: the jobs read a catalog that has an end; leave it out")
    if options.get("output_executable_path"):
        raise UsageError(
            "--output_executable_path writes a program and runs nothing, and the launcher waits for what the job has "
            "written; leave it out"
        )
    if runner_name(options.get("runner", "")) == "portable" and not options.get("job_endpoint"):
        raise UsageError("--runner=PortableRunner needs --job_endpoint, the HOST:PORT of the job server")
    for name, of in _MASTERS.items():
        if engine is not None and name in options and engine != of:
            raise UsageError(f"--{name} is for --engine {of}, and this job would run on {engine}; add --engine {of}")
    if engine in ("local", "dataflow") and options.get("job_endpoint"):
        raise UsageError(
            "--job_endpoint is for --engine spark, --engine flink and --runner=PortableRunner, and this job would run "
            f"on {engine}; name the engine that the job server is of"
        )


def _check_prism(options: Mapping[str, Any]) -> None:
    if runner_name(options["runner"]) != "prism" or options.get("prism_beam_version_override"):
        return
    location = options.get("prism_location")
    if location is None:
        raise UsageError(
            "--runner=PrismRunner needs --prism_location, the path of the program prism, or prism on the PATH; without "
            "it Beam would download one from GitHub"
        )
    if not storage.is_url(location) and not os.path.isfile(location):
        raise UsageError(f"--prism_location={location} is no file; expected the path of the program prism")


def _check_hints(engine: str, options: Mapping[str, Any], job: Job) -> None:
    given = [_HINT_FLAGS[name] for name in job.hints] + (["--resource_hints"] if options.get("resource_hints") else [])
    if given:
        unit = "an executor" if engine == "spark" else "a task manager"
        raise UsageError(
            f"{' and '.join(given)}: {engine} takes no resource hints, the job would run on any worker; leave the hint "
            f"out, and give {unit} the memory and the GPU of one worker process in the configuration of the cluster"
        )


def _check_spark(options: Mapping[str, Any]) -> None:
    if options.get("job_endpoint"):
        return
    if options.get("spark_submit_uber_jar"):
        if not options.get("spark_rest_url"):
            raise UsageError("--spark_submit_uber_jar needs --spark_rest_url, such as http://HOST:6066")
        return
    master = options.get("spark_master_url")
    if master is None:
        raise UsageError(
            "--engine spark needs --spark_master_url, spark://HOST:7077 or local[4]; without it Beam would start a "
            "Spark of its own on this machine"
        )
    if not is_local_master("spark", options) and not re.match(r"spark://[^/:]+:\d+", master):
        raise UsageError(
            f"--spark_master_url={master}: the job server of Beam knows a standalone master, spark://HOST:7077, "
            "or local[N]; for others start Beam's Spark job server where Spark is configured, and give --job_endpoint"
        )


def _check_flink(options: Mapping[str, Any], cluster: FlinkCluster | None) -> None:
    if "attached_mode" in options:  # A flag without a value, which turns it off.
        raise UsageError("--attached_mode: the launcher waits for what the job has written; leave it out")
    if options.get("job_endpoint"):
        _check_parallelism(options)
        return
    if options.get("flink_master") is None:
        raise UsageError(
            "--engine flink needs --flink_master, HOST:8081 or [local]; without it Beam would start a Flink of its own "
            "on this machine"
        )
    if is_local_master("flink", options):
        return
    version = options.get("flink_version")
    if cluster is not None and version is not None and version != short_version(cluster.version):
        raise UsageError(
            f"--flink_version={version}, and the cluster at {options['flink_master']} is Flink {cluster.version}; they "
            "must be the same"
        )
    _check_parallelism(options)


def _check_parallelism(options: Mapping[str, Any]) -> None:
    if options.get("parallelism", -1) < 1:
        raise UsageError(
            "--engine flink needs --parallelism, the task slots of the cluster; without it Flink may run the whole job "
            "as one task"
        )


def _check_environment(engine: str, options: Mapping[str, Any]) -> None:
    """Where the project's code runs."""
    kind, config = options.get("environment_type"), options.get("environment_config")
    chosen = dict(each.partition("=")[::2] for each in options.get("environment_options", ()))
    near = is_on_this_machine(engine, options)
    if config is not None and chosen:
        raise UsageError("--environment_config and --environment_option say the same in two ways; leave one out")
    if kind == "LOOPBACK" and not near:
        raise UsageError(
            f"--environment_type=LOOPBACK runs the project in this process, which {engine}'s workers on other machines "
            f"do not reach; leave it out, or give PROCESS with {BOOT} of the worker image"
        )
    if kind == "DOCKER" and not (config or chosen.get("docker_container_image")):
        raise UsageError(
            "--environment_type=DOCKER needs the worker image in --environment_config; Beam's own image has nothing of "
            "this project"
        )
    if kind == "EXTERNAL" and not (config or chosen.get("external_service_address")):
        raise UsageError("--environment_type=EXTERNAL needs the HOST:PORT of the worker pool in --environment_config")
    if kind == "PROCESS" and not (_command(config) or chosen.get("process_command")):
        raise UsageError(
            f"--environment_config={config} has no command; expected JSON such as "
            f'{{"command": "{BOOT}"}} for --environment_type=PROCESS'
        )
    staged = [name for name in _STAGED if options.get(name)]
    # Which is put together and sent from here, with what is staged.
    jar = options.get(f"{engine}_submit_uber_jar") and not options.get("job_endpoint")
    if staged and kind != "LOOPBACK" and not (near or jar or options.get("artifacts_dir")):
        raise UsageError(
            f"--{staged[0]} is staged into a folder of this machine, which {engine}'s workers on other machines do not "
            "see; put the files into the worker image, or give --artifacts_dir on a disk or bucket that all share"
        )


def _command(config: str | None) -> str | None:
    try:
        found = json.loads(config or "")
    except ValueError:
        return None
    return found.get("command") if isinstance(found, dict) else None


def _check_dataflow(options: Mapping[str, Any], job: Job) -> None:
    for name in sorted(options):
        if name.startswith("environment_"):
            raise UsageError(
                f"--{name} is for Spark, Flink and --runner=PortableRunner, and Dataflow runs the project in the image "
                "of --sdk_container_image; leave it out"
            )
    # The launcher of a template gives the rest when the job is launched.
    if not options.get("template_location"):
        for name, expected in (("project", "a project"), ("region", "a region such as europe-west1")):
            if not options.get(name):
                raise UsageError(f"--engine dataflow needs --{name}, {expected}")
        place = options.get("temp_location") or options.get("staging_location")
        if not place or not place.startswith("gs://"):
            said = f"--temp_location={place} is not in Cloud Storage" if place else "--temp_location is missing"
            raise UsageError(f"{said}; --engine dataflow needs a folder such as gs://BUCKET/tmp")
        images = ("sdk_container_image", "worker_harness_container_image", "setup_file", "extra_packages")
        if not any(options.get(name) for name in images):
            raise UsageError(
                "--engine dataflow needs --sdk_container_image, the worker image, or --setup_file=./setup.py; without "
                "them the workers would have nothing of this project"
            )
    asked = list(accelerators(options, job))
    if len(asked) > 1 and asked[-1].startswith("--dataflow_service_options"):
        raise UsageError(
            f"{asked[0]} and {asked[-1]}: Dataflow takes GPUs for one step or for all workers, not both; keep "
            f"{asked[0]}, which is for the encode step alone"
        )
    if asked and options.get("flexrs_goal"):
        raise UsageError(f"{asked[0]} and --flexrs_goal: Dataflow has no GPUs in flexible scheduling; leave one out")
    if ONE_PROCESS in options.get("experiments", ()) and shares_gpus(options, job):
        raise UsageError(
            f"use_nvidia_mps and --experiments={ONE_PROCESS}: the one is for several processes on a GPU, the other "
            "has one process a machine; leave one out"
        )


def _check_places(engine: str | None, options: Mapping[str, Any], job: Job) -> list[str]:
    """What workers in other processes and on other machines can read and write."""
    together = (
        options.get("direct_running_mode") != "multi_processing"
        if engine == "local"
        else options.get("environment_type") == "LOOPBACK"  # Which Dataflow is refused above.
    )
    notes = []
    for flag, place in job.places:
        scheme = storage.scheme_of(place)
        if scheme == "memory" and engine is not None and not together:
            raise UsageError(f"{flag} {place} is in the memory of this process, and the workers are others")
        if scheme != "file" or is_on_this_machine(engine, options):
            continue
        if engine == "dataflow":
            raise UsageError(
                f"{flag} {place} is on this machine's disk, which Dataflow's workers do not see; put it into a bucket"
            )
        if engine is not None:
            notes.append(f"{flag} {place} must be on a disk that all workers share")
    files = files_of(job.encoder) if job.encoder else None
    if files and storage.scheme_of(files) == "file" and engine is not None and not is_on_this_machine(engine, options):
        notes.append(f"--encoder {job.encoder} must be in the worker image under the same path")
    return notes


def _ignored_hints(engine: str | None, job: Job) -> list[str]:
    if engine != "local" or not job.hints:
        return []
    return [f"{' and '.join(_HINT_FLAGS[name] for name in job.hints)}: the local engine takes no hints"]
