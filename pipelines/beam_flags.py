"""Flags of Beam, read as Beam reads them: which were given, and which it would throw away."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from catalog.errors import UsageError
from pipelines.flag_types import without_secrets

# What Beam's job servers take beside the options that its Python side knows. Beam asks a job server for them once it
# runs, which is too late to tell a misspelt one.
_VALUES_OF_ANY = ("environment_expiration_millis", "semi_persist_dir")
_SWITCHES_OF_ANY = ("enable_heap_dumps", "load_balance_bundles")
_VALUES = {
    "flink": (
        *_VALUES_OF_ANY,
        *("auto_watermark_interval", "checkpoint_timeout_millis", "checkpointing_interval", "checkpointing_mode"),
        *("execution_mode_for_batch", "execution_retry_delay", "flink_conf_dir", "job_check_interval_in_secs"),
        *("latency_tracking_interval", "max_bundle_size", "max_bundle_time_mills", "min_pause_between_checkpoints"),
        *("num_concurrent_checkpoints", "number_of_execution_retries", "state_backend", "state_backend_storage_path"),
    ),
    "spark": (*_VALUES_OF_ANY, "bundle_size", "checkpoint_dir", "storage_level"),
}
# Those that take no value.
_SWITCHES = {
    "flink": (
        *_SWITCHES_OF_ANY,
        *("attached_mode", "disable_metrics", "externalized_checkpoints_enabled", "faster_copy"),
        *("finish_bundle_before_checkpointing", "object_reuse", "operator_chaining", "re_iterable_group_by_key_result"),
        *("unaligned_checkpoint_enabled",),
    ),
    "spark": (
        *_SWITCHES_OF_ANY,
        *("cache_disabled", "enable_spark_metric_sinks", "prefer_group_by_key_to_handle_huge_values"),
    ),
}


# Of job servers that are started by hand too.
_ANY = ("flink", "spark")


def given_options(beam_arguments: Sequence[str]) -> dict[str, Any]:
    """The options that flags set, by the name of Beam's option, whatever way they are written in: `--x=y`, `--x y`,
    `--no_x`, another name of the same. Raises UsageError for a flag or a value that Beam does not take."""
    parser = _BeamArgumentParser(allow_abbrev=False)
    for each in {str(each): each for each in PipelineOptions.__subclasses__()}.values():
        each._add_argparse_args(parser)
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    for flags, kind in ((_VALUES, "store"), (_SWITCHES, "store_true")):
        for name in sorted({name for each in flags.values() for name in each}):
            parser.add_argument(f"--{name}", action=kind, default=argparse.SUPPRESS)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(complaint):
            given, unknown = parser.parse_known_args(list(beam_arguments))
    except SystemExit:
        said = complaint.getvalue().strip().splitlines()[-1:] or [""]
        raise UsageError(
            f"Beam does not take these flags: {' '.join(without_secrets(beam_arguments))} ({said[0]})"
        ) from None
    if unknown:
        raise UsageError(f"Beam does not know these flags: {' '.join(without_secrets(unknown))}")
    return vars(given)


def check_job_server_flags(given: Mapping[str, Any], engine: str | None) -> None:
    """Raises UsageError for a flag of a job server that the engine has not; None is an engine that is not known."""
    engines = _ANY if engine is None else (engine,)
    taken = {name for each in engines for flags in (_VALUES, _SWITCHES) for name in flags.get(each, ())}
    others = {name for flags in (_VALUES, _SWITCHES) for each in flags.values() for name in each} - taken
    wrong = sorted(others & set(given))
    if wrong:
        of = next(each for each in _ANY if wrong[0] in (*_VALUES[each], *_SWITCHES[each]))
        raise UsageError(f"--{wrong[0]} is for --engine {of}, and this job would run on {engine}")
