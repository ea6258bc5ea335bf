"""`dedupe rethreshold`: the pairs that a report found, judged by other settings."""

from __future__ import annotations

import argparse

from commands.dedupe import tell
from commands.output import add_json_flag, say
from pipelines.flags import add_engine_flag
from pipelines.rethreshold_flags import add_rethreshold_flags, rethreshold_config

HELP = "judge the pairs of a report of duplicates anew, by stricter bounds or other policies, without looking for them"
EPILOG = "Flags after -- go to Apache Beam. The report that is read stays as it is."
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_rethreshold_flags(parser)
    add_engine_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from pipelines.dedupe import rethreshold

    tell(rethreshold(rethreshold_config(args, args.beam_arguments, args.engine), say), args)
    return 0
