"""`pin`: keep a version, whatever else is collected; or no longer."""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, say

HELP = "keep a version from being collected, or lift its pins"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    parser.add_argument("--version", required=True, help="the version to keep")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; recorded with the pin")
    parser.add_argument("--remove", action="store_true", help="lift all pins of the version, those of its build too")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from catalog import storage
    from catalog.manifest import artifact_root
    from index_builder.publishing.pins import pin, unpin
    from index_builder.publishing.verify import find_version, read_published

    root = storage.check_writable(artifact_root(args.artifacts, args.name))
    manifest = read_published(root, find_version(root, version=args.version))
    pins = unpin(root, manifest, args.reason) if args.remove else pin(root, manifest, args.reason)
    if pins.pins:
        say(f"version {args.version} is pinned: {'; '.join(pins.reasons)}")
    else:
        say(f"version {args.version} is not pinned")
    if args.json:
        print_json({"version": args.version, **asdict(pins)})
    return 0
