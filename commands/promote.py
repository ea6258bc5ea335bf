"""`promote`: a published version onto a channel, if the gates let it pass."""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, print_table, say
from pipelines.gate_flags import add_gate_flags, asked_of, forced_of

HELP = "judge a published version by the gates and point a channel to it"
EPILOG = "A threshold that is left out is the one that the version was built with."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    parser.add_argument("--version", required=True, help="the version to promote")
    parser.add_argument("--channel", default="prod", help="the channel to move (default: %(default)s)")
    add_gate_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog import storage
    from catalog.channel import CANDIDATE
    from catalog.errors import UsageError
    from catalog.manifest import artifact_root
    from index_builder.publishing.promote import Request, promote, refusal
    from index_builder.publishing.verdict import Thresholds
    from index_builder.publishing.verify import find_version, read_published

    root = storage.check_writable(artifact_root(args.artifacts, args.name))
    pointer = find_version(root, version=args.version)
    forced = forced_of(args)
    if args.channel == CANDIDATE and forced:
        raise UsageError("--force overrides a gate, and before channel candidate there is none")
    # As it was judged when it was built, unless a flag says otherwise.
    thresholds = Thresholds.of(read_published(root, pointer).thresholds, **asked_of(args))
    promotion = promote(root, pointer, Request(args.channel, thresholds, forced))
    rows = [[each.gate, _outcome(each.passed, each.forced), each.says] for each in promotion.verdicts]
    if rows and not args.json:
        print_table(["gate", "verdict", "found"], rows)
    if args.json:
        print_json(
            {
                "version": promotion.version,
                "channel": promotion.channel,
                "came_from": promotion.came_from,
                "promoted": promotion.is_there,
                "moved": promotion.moved,
                "gates": [each.to_json() for each in promotion.verdicts],
            }
        )
    if promotion.refused:
        raise refusal(promotion, args.artifacts, args.name)
    before = f", before it on {promotion.came_from}" if promotion.came_from and promotion.moved else ""
    say(f"channel {promotion.channel} is on version {promotion.version}{before}")
    return 0


def _outcome(passed: bool, forced: str | None) -> str:
    if passed:
        return "passed"
    return "refused" if forced is None else f"forced: {forced}"
