"""`nightly`: embed, index, gates, publishing and a report, from one file."""

from __future__ import annotations

import argparse

from commands.output import add_json_flag, print_json, say
from commands.progress import ProgressReport
from pipelines.flags import add_engine_flag
from pipelines.night_summary import NightSummary
from pipelines.nightly_flags import add_nightly_flags

HELP = "run a night: embed, index, gates, publish and report, from one YAML file"
EPILOG = (
    "Flags after -- go to Apache Beam. The same command again goes on from where a killed one stopped. Exit codes: 0 "
    "done, 1 failed, 2 the configuration is wrong, 3 a gate refused, 4 another run is under way."
)
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_nightly_flags(parser)
    add_engine_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    try:
        night = _night(args)
    except Exception as error:
        if args.json:
            print_json(NightSummary.not_begun(error).to_json())
        raise
    if night.embed is not None:
        say(
            f"{night.embed.rows:,} rows: {night.embed.embedded:,} embedded, {night.embed.reused:,} reused, "
            f"{night.embed.rejected:,} rejected, {night.embed.removed:,} removed; snapshot {night.embed.snapshot}"
        )
        if night.embed.stale:
            say(f"  {night.embed.stale:,} of the reused could not be read for now and keep the vectors that they had")
    if night.index is not None:
        where = f"on channel {night.index.channel}" if night.index.promoted else "refused"
        say(f"version {night.index.version} {where}: {night.index.vectors:,} vectors, {night.index.index}")
    if night.collected is not None:
        say(
            f"collected: {night.collected.deleted:,} deleted, {night.collected.waiting:,} waiting, "
            f"{night.collected.marked:,} marked now"
        )
    if night.dedupe is not None:
        say(
            f"duplicates: {night.dedupe['dropped']:,} of {night.dedupe['items']:,} items in "
            f"{night.dedupe['groups']:,} groups, {night.dedupe['new']:,} items new; {night.dedupe['report']}"
        )
    say(f"{night.outcome} in {night.seconds:.1f} s; report {night.page}")
    if args.json:
        print_json(night.to_json())
    if night.error is not None:
        raise night.error
    return night.exit_code


def _night(args: argparse.Namespace) -> NightSummary:
    from pipelines.nightly import nightly
    from pipelines.nightly_config import read_nightly

    progress = ProgressReport()
    try:
        return nightly(read_nightly(args.config, args.beam_arguments, args.engine), say, progress)
    finally:
        progress.close()
