"""How every job is started: Beam's own local runner unless another is named."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners.runner import create_runner
from apache_beam.transforms.resources import parse_resource_hints

from catalog import errors
from catalog.errors import CatalogIndexerError, MissingExtraError, UsageError
from catalog.extras import how_to_install
from pipelines.flag_types import without_secrets

# `DirectRunner` would look for Prism, a binary that it downloads; this one is the Python runner that it falls back to.
LOCAL_RUNNER = "FnApiRunner"


def pipeline_options(beam_arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options from the flags after `--`. Raises UsageError for a flag, value or runner unknown to Beam."""
    options = PipelineOptions(list(beam_arguments))
    complaint, discarded = io.StringIO(), _Discarded()
    logger = logging.getLogger(PipelineOptions.__module__)
    logger.addHandler(discarded)
    logger.propagate = False
    try:
        with contextlib.redirect_stderr(complaint):
            runner = options.view_as(StandardOptions).runner
            options.get_all_options()
        if runner is not None:
            create_runner(runner)
            if runner.endswith("DataflowRunner"):
                _check_dataflow()
    except SystemExit:
        said = complaint.getvalue().strip().splitlines()[-1:] or [""]
        raise UsageError(
            f"Beam does not take these flags: {' '.join(without_secrets(beam_arguments))} ({said[0]})"
        ) from None
    except MissingExtraError:
        raise
    except (ValueError, ImportError, AttributeError):
        raise UsageError(f"--runner={runner} is no runner of Beam, such as DataflowRunner or SparkRunner") from None
    finally:
        logger.removeHandler(discarded)
        logger.propagate = True
    if discarded.said:
        unknown = [flag for flag in beam_arguments if repr(flag) in discarded.said[0]] or beam_arguments
        raise UsageError(f"Beam does not know these flags: {' '.join(without_secrets(unknown))}")
    if runner is None:
        options.view_as(StandardOptions).runner = LOCAL_RUNNER
    # Everything that a worker needs is in importable modules; pickling __main__ would only drag the launcher along.
    options.view_as(SetupOptions).save_main_session = False
    return options


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
            f"--runner=DataflowRunner needs packages that are not installed: run {how_to_install('dataflow')}"
        ) from None


class _Discarded(logging.Handler):
    """Hears Beam say which flags it throws away; a job must not run without what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "unparseable" in record.getMessage().lower():
            self.said.append(record.getMessage())


def run(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline to its end.

    Raises:
        CatalogIndexerError: what a worker said to the user. Runners hand on a worker's error as the text of its
            traceback; it is found again by its name.
    """
    try:
        pipeline.run().wait_until_finish()
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
