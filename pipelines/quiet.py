"""What Beam prints beside logging it is silent where its log is: an error is answered with one sentence."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker import sdk_worker


def quieten() -> None:
    """Silences Beam's workers in this process while their log is off; does no more when called again."""
    sdk_worker.print = _print_where_it_logs
    _leave_out_lost_connections()
    logging.getLogger(PipelineOptions.__module__).addFilter(_is_no_complaint)


def _is_no_complaint(record: logging.LogRecord) -> bool:
    """Not of flags, all of which were checked: Beam complains of those that its job servers alone know."""
    return not record.getMessage().startswith("Unparseable argument")


def _logs() -> bool:
    return logging.getLogger(sdk_worker.__name__).isEnabledFor(logging.ERROR)


def _print_where_it_logs(*values: object, **options: Any) -> None:
    """`print` for the worker, which prints the traceback of every error that it hands on."""
    if _logs():
        print(*values, **options)  # noqa: T201


@functools.cache
def _leave_out_lost_connections() -> None:
    """Threads that read what the runner sends end with an error when the job is over and the runner gone."""
    told = threading.excepthook

    def tell(args: threading.ExceptHookArgs) -> None:
        if _logs() or not isinstance(args.exc_value, grpc.RpcError):
            told(args)

    threading.excepthook = tell
