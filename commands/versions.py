"""`versions`: what is published, and which channel points where."""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, print_table

HELP = "list the published versions of an index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from index_builder.publishing.listing import list_versions

    versions = list_versions(args.artifacts, args.name)
    if args.json:
        print_json({"versions": versions})
        return 0
    header = ["version", "created", "vectors", "index", "recall@10", "MB", "channels"]
    rows = [
        [
            version["version"],
            version["created_at"],
            f"{version['vectors']:,}",
            version["index"],
            f"{version['recall']['10']:.3f}",
            f"{version['bytes'] / 1e6:,.1f}",
            ", ".join(version["channels"]) or "-",
        ]
        for version in versions
    ]
    print_table(header, rows)
    return 0
