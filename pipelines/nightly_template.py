"""A night as a job of one step, for a Dataflow Flex Template: `python -m pipelines.nightly_template --config FILE …`.

The program that launches a Flex Template must end for its job to begin, and a night is two jobs, one after the other.
So the job that is launched has one step, which runs the night; its two jobs run where the configuration's `beam` says,
or else in the worker of that step.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

import apache_beam as beam

from catalog.errors import CatalogIndexerError, LockedError
from catalog.storage import redact_text
from pipelines.nightly import nightly
from pipelines.nightly_config import read_nightly
from pipelines.nightly_flags import add_nightly_flags
from pipelines.runner import pipeline_options

# Seconds that the lock is waited for after the lease that a lost worker may have left has run out.
_PATIENCE = 30.0
_BETWEEN_LOOKS = 30.0


class RunNight(beam.DoFn):
    """The place of a configuration to a night that is done."""

    def process(self, place: str) -> None:
        config = read_nightly(place)
        deadline = time.monotonic() + config.lease + _PATIENCE
        while True:
            try:
                night = nightly(config, _say)
                break
            except LockedError as locked:
                # The runner begins the step anew when its worker was lost, whose lease must run out first.
                if time.monotonic() > deadline:
                    raise
                _say(str(locked))
                time.sleep(min(_BETWEEN_LOOKS, config.lease / 3))
        if night.error is not None:
            raise night.error


def launch(place: str, beam_arguments: Sequence[str]) -> None:
    """Submits the job and does not wait for it. Raises UsageError where the configuration or a flag is wrong."""
    read_nightly(place)
    pipeline = beam.Pipeline(options=pipeline_options(beam_arguments))
    pipeline | "Config" >> beam.Create([place]) | "Nightly" >> beam.ParDo(RunNight())
    pipeline.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Submits a night; returns the exit code: 0 submitted, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.nightly_template", allow_abbrev=False)
    add_nightly_flags(parser)
    args, beam_arguments = parser.parse_known_args(arguments)
    try:
        launch(args.config, beam_arguments)
    except CatalogIndexerError as error:
        sys.stderr.write(f"{parser.prog}: {redact_text(str(error))}\n")
        return error.exit_code
    return 0


def _say(line: str) -> None:
    logging.getLogger(__name__).warning("%s", redact_text(line))


if __name__ == "__main__":
    # By name, so that the step belongs to its module and not to the program that was started.
    from pipelines.nightly_template import main as run

    raise SystemExit(run())
