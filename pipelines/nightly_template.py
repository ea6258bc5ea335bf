"""A night as a job of one step, for `pipelines.flex_template`.

The program that launches a Flex Template must end for its job to begin, and a night is two jobs, one after the other.
So the job that is launched has one step, which runs the night; its two jobs run where the configuration's `beam` says,
or else in the worker of that step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import apache_beam as beam

from catalog.errors import LockedError
from catalog.storage import redact_text
from pipelines.engine_presets import Job
from pipelines.nightly import nightly
from pipelines.nightly_config import read_nightly
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
    night = read_nightly(place)
    # Which the worker of the step reads and writes, wherever the two jobs run.
    places = [*night.embed.asks.places, *night.index.asks.places, ("reports", night.reports), ("--config", place)]
    if night.dedupe is not None:
        places += [("dedupe.output", night.dedupe.folder)]
    job = Job(places=places, encoder=night.embed.encoder)
    pipeline = beam.Pipeline(options=pipeline_options(beam_arguments, job=job, say=_say))
    pipeline | "Config" >> beam.Create([place]) | "Nightly" >> beam.ParDo(RunNight())
    pipeline.run()


def _say(line: str) -> None:
    logging.getLogger(__name__).warning("%s", redact_text(line))
