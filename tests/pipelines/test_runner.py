from __future__ import annotations

import sys

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult, DataflowRuntimeException
from apache_beam.runners.runner import PipelineRunner
from google.cloud import dataflow

from catalog.errors import IntegrityError, MissingExtraError, UsageError
from pipelines.runner import check_hints, pipeline_options, run


def test_the_local_runner_is_the_default_and_flags_go_to_beam() -> None:
    assert pipeline_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    options = pipeline_options(["--runner=SparkRunner", "--job_endpoint=localhost:8099", "--direct_num_workers=7"])
    assert options.view_as(StandardOptions).runner == "SparkRunner"
    assert options.view_as(DirectOptions).direct_num_workers == 7


def test_a_value_that_beam_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Beam does not take these flags: --direct_num_workers=many \(.*invalid int"):
        pipeline_options(["--direct_num_workers=many"])
    with pytest.raises(UsageError, match="--runner=Nope is no runner of Beam"):
        pipeline_options(["--runner=Nope"])


def test_a_flag_that_beam_would_throw_away_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^Beam does not know these flags: --runnr=SparkRunner$"):
        pipeline_options(["--job_name=x", "--runnr=SparkRunner"])


def test_what_is_refused_is_told_without_secrets() -> None:
    for flags in (
        ["--my_password=it's SECRET"],
        ["--my_token", "SECRET"],
        ["--s3_session_token=SECRET", "--sdk_locatio=x"],
    ):
        with pytest.raises(UsageError, match="Beam does not know these flags: ") as refused:
            pipeline_options(flags)
        assert "SECRET" not in str(refused.value)
    with pytest.raises(UsageError, match=r"not take these flags: --s3_session_token=… --direct_num_workers=many"):
        pipeline_options(["--s3_session_token=SECRET", "--direct_num_workers=many"])


def test_a_hint_that_beam_does_not_take_is_refused() -> None:
    check_hints({"min_ram": "16GB", "accelerator": "type:nvidia-l4;count:1"})
    check_hints({})
    with pytest.raises(UsageError, match=r"^--worker-memory lots is no size; expected one such as 16GB$"):
        check_hints({"min_ram": "lots"})


def _fail(element: int) -> None:
    raise IntegrityError("files/00001/a.parquet is damaged")


def _break(element: int) -> None:
    raise ZeroDivisionError("a defect")


def test_what_a_worker_says_to_the_user_arrives_as_one_sentence() -> None:
    pipeline = beam.Pipeline(options=pipeline_options([]))
    _ = pipeline | beam.Create([1]) | beam.Map(_fail)
    with pytest.raises(IntegrityError) as raised:
        run(pipeline)
    assert str(raised.value) == "files/00001/a.parquet is damaged"


def test_a_defect_in_a_worker_is_not_dressed_up() -> None:
    pipeline = beam.Pipeline(options=pipeline_options([]))
    _ = pipeline | beam.Create([1]) | beam.Map(_break)
    with pytest.raises(Exception, match="a defect"):
        run(pipeline)


class Submitted(PipelineRunner):
    """Of a job that has ended on Dataflow: the answer is Beam's own."""

    def __init__(self, job: dataflow.Job | None) -> None:
        self.job = job

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> DataflowPipelineResult:
        return DataflowPipelineResult(self.job, self, options)


def test_the_id_of_a_dataflow_job_is_told_before_it_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    failed = dataflow.Job(id="2026-01-02_03_04_05-6", current_state=dataflow.JobState.JOB_STATE_FAILED)
    said: list[str] = []
    with pytest.raises(DataflowRuntimeException):
        run(beam.Pipeline(runner=Submitted(failed)), said.append)
    assert said == ["Dataflow job 2026-01-02_03_04_05-6"]
    with pytest.raises(DataflowRuntimeException):
        run(beam.Pipeline(runner=Submitted(failed)))
    assert "Dataflow job 2026-01-02_03_04_05-6" in caplog.messages
    run(beam.Pipeline(runner=Submitted(None)), said.append)  # Of a template, which is written down.
    assert len(said) == 1


def test_dataflow_without_its_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam.runners.dataflow.internal.apiclient", None)
    with pytest.raises(MissingExtraError, match=r"run pip install '\.\[dataflow\]'"):
        pipeline_options(["--runner=DataflowRunner", "--project=p", "--region=r"])
