"""`gc`: versions that nothing needs any more, and what builds have left, marked and after a grace deleted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, print_table, say
from commands.words import megabytes
from pipelines.flag_types import at_least, duration

if TYPE_CHECKING:
    from index_builder.publishing.collect import Fate

HELP = "delete what nothing needs any more; without --delete, say what that is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    parser.add_argument(
        "--keep", type=at_least(1), required=True, metavar="N", help="of the newest versions, whatever points to them"
    )
    parser.add_argument("--delete", action="store_true", help="mark, and delete what was marked a grace ago")
    parser.add_argument(
        "--grace",
        type=duration,
        default=86_400.0,
        metavar="T",
        help="between mark and deletion, at least 1h (default: 24h)",
    )
    parser.add_argument(
        "--young", type=duration, default=86_400.0, metavar="T", help="versions younger than this stay (default: 24h)"
    )
    parser.add_argument(
        "--abandoned",
        type=duration,
        default=7 * 86_400.0,
        metavar="T",
        help="how long a build that is not finished may stand still, at least 24h (default: 7d)",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog import storage
    from catalog.manifest import artifact_root
    from index_builder.publishing.collect import collect
    from index_builder.publishing.reachable import Retention

    root = storage.check_writable(artifact_root(args.artifacts, args.name))
    fates = collect(root, Retention(args.keep, args.grace, args.young, args.abandoned), args.delete)
    by_step = {
        step: [each for each in fates if each.step == step] for step in ("deleted", "delete", "wait", "mark", "stay")
    }
    totals = {step: sum(each.bytes or 0 for each in found) for step, found in by_step.items()}
    if args.json:
        print_json({"deleted": args.delete, "bytes": totals, "things": [each.to_json() for each in fates]})
        return 0
    rows = [
        [each.path, f"{each.files:,}", megabytes(each.bytes), _says(each, args.delete)]
        for each in fates
        if each.kind in ("version", "build") or each.step != "stay"
    ]
    if rows:
        print_table(["what", "files", "MB", "becomes"], rows)
    counts = ", ".join(
        f"{len(by_step[step]):,} {word} ({megabytes(totals[step])} MB)"
        for step, word in (
            ("deleted", "deleted"),
            ("delete", "to delete"),
            ("wait", "waiting"),
            ("mark", "marked now" if args.delete else "to mark"),
        )
        if by_step[step]
    )
    say(counts or "nothing to collect")
    if not args.delete and any(by_step[step] for step in ("delete", "mark")):
        say("nothing was changed; --delete marks, and deletes what was marked a grace ago")
    return 0


def _says(fate: Fate, delete: bool) -> str:
    if fate.step == "stay":
        return f"stays: {'; '.join(fate.why)}"
    if fate.step == "mark":
        return f"{'is marked now' if delete else 'would be marked'}, until {fate.until}"
    if fate.step == "wait":
        return f"marked until {fate.until}{'; '.join(['', *fate.why])}"
    return "deleted" if fate.step == "deleted" else "would be deleted"
