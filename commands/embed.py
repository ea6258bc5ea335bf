"""`embed`: a catalog and its images to an embedding store."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from commands.output import add_json_flag, print_json, say
from commands.progress import ProgressReport
from pipelines.flag_types import at_least
from pipelines.flags import add_embed_flags, add_engine_flag, embed_config

HELP = "encode the images of a catalog into embedding Parquet files"
EPILOG = "Flags after -- go to Apache Beam. The same command again does only what is missing or has changed."
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_embed_flags(parser)
    add_engine_flag(parser)
    parser.add_argument(
        "--fail-on-rejects",
        type=at_least(0),
        metavar="N",
        help="exit 1 when more than N rows were rejected or could not be read for now, all being written",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from pipelines.embed import embed

    report = ProgressReport()
    try:
        summary = embed(embed_config(args, args.beam_arguments, args.engine), say, report)
    finally:
        report.close()
    say(
        f"{summary.rows:,} rows: {summary.embedded:,} embedded, {summary.reused:,} reused, "
        f"{summary.rejected:,} rejected, {summary.removed:,} removed; "
        f"snapshot {summary.snapshot} in {summary.seconds:.1f} s ({summary.images_per_second:.0f} images/s)"
    )
    for reason, count in summary.rejects_by_reason.items():
        say(f"  rejected {count:,} as {reason}")
    if summary.stale:
        say(f"  {summary.stale:,} of the reused could not be read for now and keep the vectors that they had")
    if summary.precision:
        cost = summary.precision
        say(
            f"  the lower precision kept {cost.neighbour_overlap:.1%} of the 10 nearest neighbours that float32 gives, "
            f"cosine {cost.mean_cosine:.4f} (least {cost.least_cosine:.4f}), over {cost.sampled:,} items"
        )
    unread = summary.rejected + summary.stale
    failed = args.fail_on_rejects is not None and unread > args.fail_on_rejects
    if failed:
        say(
            f"catalog-indexer embed: {unread:,} rows were rejected or could not be read for now, --fail-on-rejects "
            f"{args.fail_on_rejects}"
        )
    if args.json:
        print_json(asdict(summary))
    return 1 if failed else 0
