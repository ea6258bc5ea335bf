"""What engines log, and how much of it commands let through."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys

import pytest

from commands.output import EnginesLeftOut
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("module", "level", "is_shown"),
    [
        ("runners.dataflow.dataflow_runner", logging.ERROR, True),
        ("runners.dataflow.internal.apiclient", logging.WARNING, True),
        ("runners.dataflow.dataflow_runner", logging.INFO, False),
        ("runners.portability.portable_runner", logging.ERROR, False),
        ("runners.worker.sdk_worker", logging.CRITICAL, False),
        ("io.filesystems", logging.ERROR, True),
    ],
)
def test_of_what_engines_log_that_of_dataflow_is_shown(module: str, level: int, is_shown: bool) -> None:
    path = importlib.import_module(f"apache_beam.{module}").__file__
    record = logging.makeLogRecord({"pathname": path, "name": f"apache_beam.{module}", "levelno": level})
    assert EnginesLeftOut().filter(record) is is_shown


def test_a_command_shows_what_dataflow_says_of_its_job() -> None:
    code = """
import logging
from commands.main import main
assert main(["verify", "--artifacts", "a", "--name", "x", "--", "--runner=X"]) == 2  # Which is said.
import apache_beam as beam
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
from apache_beam.runners.runner import PipelineRunner
from google.cloud import dataflow
from pipelines.runner import run
class Submitted(PipelineRunner):
    def run_pipeline(self, pipeline, options):
        return DataflowPipelineResult(dataflow.Job(id="job-7", current_state=dataflow.JobState.JOB_STATE_DONE), self)
run(beam.Pipeline(runner=Submitted()))
Submitted().run(beam.Create([])).cancel()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stderr.splitlines()
    assert said[1] == "WARNING pipelines.runner: Dataflow job job-7"
    assert "apache_beam.runners.dataflow.dataflow_runner: Cancel failed because job job-7 is already" in said[2]
