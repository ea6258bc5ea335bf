"""How every job is started: Beam's own local runner unless another engine is asked for."""

from __future__ import annotations

import importlib
import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, SetupOptions
from apache_beam.runners.runner import create_runner
from apache_beam.transforms.resources import parse_resource_hints

from catalog import errors
from catalog.errors import CatalogIndexerError, MissingExtraError, UsageError
from catalog.extras import how_to_install
from pipelines import flink_cluster
from pipelines.beam_flags import check_job_server_flags, given_options
from pipelines.engine_checks import check
from pipelines.engine_presets import (
    FlinkCluster,
    Job,
    engine_of,
    flags_of,
    is_local_master,
    presets,
    short_version,
    told,
)
from pipelines.quiet import quieten

_NOTHING = Job()


def pipeline_options(
    beam_arguments: Sequence[str],
    engine: str | None = None,
    job: Job = _NOTHING,
    say: Callable[[str], None] = lambda line: None,
) -> PipelineOptions:
    """Beam's options: the flags after `--`, and what the engine needs beside them.

    Args:
        beam_arguments: flags for Beam; they win over what is filled in.
        engine: see `pipelines.engine_presets`; None means that of the runner which the flags name, or else `local`.
        job: what the job asks of the engine.
        say: told what is filled in, unless nothing was asked for.

    Raises:
        UsageError: a flag, value or runner is unknown to Beam, or does not go together with the engine.
    """
    given = check_flags(beam_arguments)
    runs_on = engine_of(engine, given.get("runner"))
    if runs_on == "dataflow":
        _check_dataflow()
    check_job_server_flags(given, runs_on)
    cluster = _cluster(runs_on, given)
    filled = presets(runs_on, given, job, cluster)
    notes = check(runs_on, {**filled, **given}, job, cluster)
    _check_java(runs_on, given)
    if runs_on is not None and (engine is not None or "runner" in given):
        say(told(runs_on, filled))
    for note in notes:
        say(note)
    options = PipelineOptions([*flags_of(filled), *beam_arguments])
    # Everything that a worker needs is in importable modules; pickling __main__ would only drag the launcher along.
    options.view_as(SetupOptions).save_main_session = False
    return options


def check_flags(beam_arguments: Sequence[str]) -> dict[str, Any]:
    """The options that flags of Beam set. Raises UsageError for a flag, value or runner unknown to Beam."""
    given = given_options(beam_arguments)
    runner = given.get("runner")
    try:
        if runner is not None:
            create_runner(runner)
    except (ValueError, ImportError, AttributeError):
        raise UsageError(f"--runner={runner} is no runner of Beam, such as DataflowRunner or SparkRunner") from None
    return given


def _cluster(engine: str | None, given: Mapping[str, Any]) -> FlinkCluster | None:
    """What the Flink cluster of a job says of itself. Raises UsageError where Beam has nothing for it."""
    if engine != "flink" or "job_endpoint" in given or is_local_master(engine, given) or "flink_master" not in given:
        return None
    cluster = flink_cluster.ask(given["flink_master"])
    known = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    if cluster is not None and not given.get("flink_job_server_jar") and short_version(cluster.version) not in known:
        raise UsageError(
            f"the cluster at {given['flink_master']} is Flink {cluster.version}, and Beam has job servers for "
            f"{', '.join(known)}"
        )
    return cluster


def _check_java(engine: str | None, given: Mapping[str, Any]) -> None:
    """Raises UsageError where Beam would start a job server without Java."""
    program = given.get("job_server_java_launcher", "java")
    uber = given.get("spark_submit_uber_jar") or given.get("flink_submit_uber_jar")
    if engine in ("spark", "flink") and not (given.get("job_endpoint") or uber) and shutil.which(program) is None:
        raise UsageError(
            f"--engine {engine} needs Java, and there is no {program}; name it with --job_server_java_launcher, or a "
            "job server that is running with --job_endpoint"
        )


def check_hints(hints: Mapping[str, str]) -> None:
    """Raises UsageError for a resource hint of the encode step that Beam does not take."""
    try:
        parse_resource_hints(hints)
    except ValueError:
        raise UsageError(f"--worker-memory {hints.get('min_ram')} is no size; expected one such as 16GB") from None


def _check_dataflow() -> None:
    """Raises MissingExtraError before anything is written; Beam would find out when it submits the job."""
    try:
        importlib.import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError:
        raise MissingExtraError(
            f"Dataflow needs packages that are not installed: run {how_to_install('dataflow')}"
        ) from None


def _log(line: str) -> None:
    logging.getLogger(__name__).warning("%s", line)


def run(pipeline: beam.Pipeline, say: Callable[[str], None] = _log) -> None:
    """Runs a pipeline to its end.

    Args:
        pipeline: the job.
        say: told the id of a job on Dataflow when it has one, for the job goes on without this process.

    Raises:
        CatalogIndexerError: what a worker said to the user. Runners hand on a worker's error as the text of its
            traceback; it is found again by its name.
    """
    quieten()
    try:
        result = pipeline.run()
        if getattr(result, "has_job", False):
            say(f"Dataflow job {result.job_id()}")
        result.wait_until_finish()
    except Exception as error:
        said = _said_by_worker(f"{type(error).__module__}.{type(error).__name__}: {error}")
        if said is None:
            raise
        raise said from error


def _said_by_worker(text: str) -> CatalogIndexerError | None:
    """The last error of `catalog.errors` in a traceback, without Beam's note of the step."""
    found = re.findall(r"^catalog\.errors\.(\w+): (.*?)(?: \[while running .*)?$", text, re.MULTILINE)
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    return kinds[found[-1][0]](found[-1][1]) if found and found[-1][0] in kinds else None
