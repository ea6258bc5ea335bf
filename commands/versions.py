"""`versions`: what is published, and which channel points where."""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, print_table, say
from commands.words import age, megabytes

HELP = "list the published versions of an index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    parser.add_argument("--all", action="store_true", help="those too that were collected")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from index_builder.publishing.listing import list_versions

    found = list_versions(args.artifacts, args.name, args.all)
    versions = found.versions
    if args.json:
        print_json({"versions": versions, "damaged_channels": found.damaged_channels})
        return 0
    header = ["version", "age", "vectors", "recall@10", "MB", "channels", "labels", "pinned", "state"]
    rows = [
        [
            version["version"],
            age(version.get("age_seconds")),
            f"{version['vectors']:,}" if "vectors" in version else "-",
            f"{version['recall']['10']:.3f}" if "recall" in version else "-",
            megabytes(version.get("bytes")),
            ", ".join(version["channels"]) or "-",
            ", ".join(f"{name}={value}" for name, value in version.get("labels", {}).items()) or "-",
            "; ".join(version["pins"]) or "-",
            version["state"],
        ]
        for version in versions
    ]
    print_table(header, rows)
    for version in versions:
        if "problem" in version:
            say(f"version {version['version']}: {version['problem']}")
    for channel, problem in found.damaged_channels.items():
        say(f"channel {channel}: {problem}; what it points to is not known")
    return 0
