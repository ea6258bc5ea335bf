"""The jobs as Dataflow Flex Templates launch them: `--job embed --catalog=… --output=…`, and Beam's flags.

The program that launches a Flex Template only writes the job's graph down: the job begins when the program has ended,
so it cannot wait and do the rest. What a job does behind its pipeline is a last step here. `embed` publishes in its
last step anyway; `index` gets one that moves the channel; a night, which is two jobs, is one step that runs both.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from catalog.errors import CatalogIndexerError, UsageError
from catalog.storage import redact_text
from index_builder.publishing.promote import refusal
from index_builder.version_job import VersionJob
from pipelines.embed import submit as submit_embed
from pipelines.flags import add_embed_flags, add_index_flags, embed_config, index_config
from pipelines.index import IndexConfig, plan_build, settle_version
from pipelines.nightly_flags import add_nightly_flags
from pipelines.nightly_template import launch as submit_nightly

FLAGS = {"embed": add_embed_flags, "index": add_index_flags, "nightly": add_nightly_flags}

# The image that launches is the image that works: it has Beam already.
_OF_THE_IMAGE = ("--sdk_location=container",)


@dataclass
class Promote(beam.DoFn):
    """A version that is published to its channel, as the launcher of `index` does it elsewhere.

    Attributes:
        job: the version.
        artifacts, name: as they were given, for the sentence that says why a version was refused.
    """

    job: VersionJob
    artifacts: str
    name: str

    def process(self, element: Any) -> None:
        _, promotion = settle_version(self.job, _log)
        if promotion.refused:
            raise refusal(promotion, self.artifacts, self.name)


def submit_index(config: IndexConfig) -> None:
    """Submits the index job with a last step that moves the channel, and does not wait for it."""
    planned = plan_build(config, _log)
    built = planned.built
    if built is None:
        built = planned.pipeline | "Built" >> beam.Create([planned.job.version])
    built | "Promote" >> beam.ParDo(Promote(planned.job, config.artifacts, config.name))
    planned.pipeline.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Submits a job; returns the exit code: 0 submitted, 2 wrong usage, else 1."""
    parser = argparse.ArgumentParser(prog="flex_template", allow_abbrev=False)
    parser.add_argument("--job", required=True, choices=sorted(FLAGS), help="what to submit")
    args, given = parser.parse_known_args(arguments)
    try:
        _submit(args.job, given)
    except CatalogIndexerError as error:
        sys.stderr.write(f"{args.job}: {redact_text(str(error))}\n")
        return error.exit_code
    return 0


def _submit(job: str, given: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=job, allow_abbrev=False)
    FLAGS[job](parser)
    args, beam_arguments = parser.parse_known_args(as_flags(parser, given))
    beam_arguments = [*_OF_THE_IMAGE, *beam_arguments]
    if job == "embed":
        submit_embed(embed_config(args, beam_arguments), _log)
    elif job == "index":
        submit_index(index_config(args, beam_arguments))
    else:
        submit_nightly(args.config, beam_arguments)


def as_flags(parser: argparse.ArgumentParser, given: Sequence[str]) -> list[str]:
    """Parameters of a template as the flags of a job: `--images_root=x` is `--images-root=x`, `--retrain=true` is
    `--retrain`. What is not the job's stays as it is.

    Raises:
        UsageError: a flag without a value is given one that is neither true nor false.
    """
    known = {flag: action for action in parser._actions for flag in action.option_strings}
    flags: list[str] = []
    for parameter in given:
        name, equals, value = parameter.partition("=")
        flag = name.replace("_", "-")
        if flag not in known:
            flags.append(parameter)
        elif known[flag].nargs != 0 or not equals:
            flags.append(flag + equals + value)
        elif value.lower() == "true":
            flags.append(flag)
        elif value.lower() != "false":
            raise UsageError(f"{name}={value} is neither true nor false")
    return flags


def _log(line: str) -> None:
    logging.getLogger(__name__).warning("%s", redact_text(line))
