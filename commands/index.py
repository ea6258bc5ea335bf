"""`index`: an embedding store to a published version."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from commands.output import add_json_flag, print_json, say
from commands.progress import ProgressReport
from pipelines.flags import add_engine_flag, add_index_flags, index_config

if TYPE_CHECKING:
    from index_builder.publishing.verdict import Verdict

HELP = "train, build, evaluate, judge and publish an index of an embedding store"
EPILOG = (
    "Flags after -- go to Apache Beam. The same command again builds nothing: a version is named by what it is made of."
)
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_index_flags(parser)
    add_engine_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from index_builder.publishing.promote import refusal
    from pipelines.index import run_index

    report = ProgressReport()
    try:
        summary, promotion = run_index(index_config(args, args.beam_arguments, args.engine), say, report)
    finally:
        report.close()
    recall = ", ".join(f"recall@{depth} {value:.3f}" for depth, value in summary.recall.items())
    where = f"on channel {summary.channel}" if summary.promoted else "refused"
    if not summary.promoted and not promotion.refused:
        where = f"published, channel {summary.channel} stays on version {promotion.came_from}"
    say(
        f"version {summary.version} {where}: {summary.vectors:,} vectors, {summary.index}, "
        f"{summary.bytes_per_vector:.0f} bytes a vector; {recall}; {summary.seconds:.1f} s"
    )
    say(f"gates: {_told(promotion.verdicts)}")
    if args.json:
        print_json(asdict(summary))
    if promotion.refused:
        raise refusal(promotion, args.artifacts, args.name)
    return 0


def _told(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "none before this channel"
    stopped = [each.gate for each in verdicts if each.refuses]
    forced = [each.gate for each in verdicts if each.forced is not None]
    told = f"{len(verdicts)} asked, " + (f"refused by {', '.join(stopped)}" if stopped else "none refuses")
    return f"{told}; overridden: {', '.join(forced)}" if forced else told
