"""Flags of Beam are read as Beam reads them."""

from __future__ import annotations

import pytest

from catalog.errors import UsageError
from pipelines.beam_flags import check_job_server_flags, given_options


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ([], {}),
        (["--disk_size_gb=7"], {"disk_size_gb": 7}),
        (["--disk_size_gb", "7"], {"disk_size_gb": 7}),
        (["--save_main_session"], {"save_main_session": True}),
        (["--no_save_main_session"], {"save_main_session": False}),
        (["--no_use_public_ips"], {"use_public_ips": False}),
        (["--worker_machine_type=n2"], {"machine_type": "n2"}),
        (["--experiment=a", "--experiments=b,c"], {"experiments": ["a", "b", "c"]}),
        (["--environment_option=a=b"], {"environment_options": ["a=b"]}),
        (["--parallelism=-1"], {"parallelism": -1}),
        (["--object_reuse"], {"object_reuse": True}),
        (["--number_of_execution_retries", "3"], {"number_of_execution_retries": "3"}),
    ],
)
def test_what_is_given_is_found_by_the_name_of_beams_option(flags: list[str], found: dict) -> None:
    assert given_options(flags) == found


@pytest.mark.parametrize("flag", ["--runnr=x", "--disk_size=7", "--objectreuse", "word"])
def test_what_beam_does_not_know_is_refused(flag: str) -> None:
    with pytest.raises(UsageError, match=f"^Beam does not know these flags: {flag}$"):
        given_options(["--job_name=x", flag])


def test_a_value_that_beam_does_not_take_is_refused() -> None:
    for flag in ("--disk_size_gb=big", "--flink_version=1.0", "--object_reuse=maybe", "--spark_version=2"):
        with pytest.raises(UsageError, match=f"^Beam does not take these flags: {flag} "):
            given_options([flag])


def test_flags_of_a_job_server_are_for_its_engine() -> None:
    flink, spark = given_options(["--object_reuse"]), given_options(["--bundle_size=100"])
    both = given_options(["--load_balance_bundles"])
    for engine in ("flink", None):
        check_job_server_flags(flink, engine)
    for engine in ("spark", None):
        check_job_server_flags(spark, engine)
    for engine in ("spark", "flink", None):
        check_job_server_flags(both, engine)
    with pytest.raises(UsageError, match=r"^--object_reuse is for --engine flink, and this job would run on spark$"):
        check_job_server_flags(flink, "spark")
    with pytest.raises(UsageError, match=r"^--bundle_size is for --engine spark, and this job would run on local$"):
        check_job_server_flags(spark, "local")
    with pytest.raises(UsageError, match=r"^--load_balance_bundles is for .* would run on dataflow$"):
        check_job_server_flags(both, "dataflow")
