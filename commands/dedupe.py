"""`dedupe`: an embedding store to a report of the duplicates in it."""

from __future__ import annotations

import argparse
from typing import Any

from commands.output import add_json_flag, print_json, say
from pipelines.dedupe_flags import add_dedupe_flags, dedupe_config
from pipelines.flags import add_engine_flag

HELP = "find duplicate and near-duplicate images, inside a catalog and across datasets, and report them"
EPILOG = (
    "Flags after -- go to Apache Beam. Source images and embeddings are never touched; dedupe apply writes a cleaned "
    "catalog."
)
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dedupe_flags(parser)
    add_engine_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from pipelines.dedupe import dedupe

    tell(dedupe(dedupe_config(args, args.beam_arguments, args.engine), say), args)
    return 0


def tell(summary: dict[str, Any], args: argparse.Namespace) -> None:
    """Says what a report says, and where it is."""
    tiers = ", ".join(f"{name} {count:,}" for name, count in summary["by_tier"].items() if count)
    say(
        f"{summary['items']:,} items: {summary['kept']:,} kept, {summary['dropped']:,} dropped "
        f"({tiers or 'no duplicates'}) in {summary['groups']:,} groups; {summary['placeholders']:,} placeholders of "
        f"{summary['placeholder_items']:,} items; {summary['unreadable']:,} unreadable; {summary['seconds']:.1f} s"
    )
    say(f"report: {args.output.rstrip('/')}/index.html")
    if args.json:
        print_json(summary)
