"""`rollback`: a channel back to an earlier version, in one write."""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, say

HELP = "point a channel back to an earlier version of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    parser.add_argument("--channel", default="prod", help="the channel to move (default: %(default)s)")
    parser.add_argument("--to", metavar="VERSION", help="default: the version before the one that it is on")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; recorded with the channel's move")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog import storage
    from catalog.manifest import artifact_root
    from index_builder.publishing.promote import rollback

    root = storage.check_writable(artifact_root(args.artifacts, args.name))
    move = rollback(root, args.channel, args.to, args.reason).moves[-1]
    say(f"channel {args.channel} is back on version {move.version}, before it on {move.came_from}")
    if args.json:
        print_json({"channel": args.channel, "version": move.version, "came_from": move.came_from, "at": move.at})
    return 0
