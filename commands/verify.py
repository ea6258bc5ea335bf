"""`verify`: is a published version, byte for byte, what was published?"""

from __future__ import annotations

import argparse

from commands.artifact_flags import add_artifact_flags, add_version_flags
from commands.output import add_json_flag, print_json, say

HELP = "read back every byte of a published version and compare it with its checksums"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    add_version_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.errors import IntegrityError
    from catalog.manifest import artifact_root
    from index_builder.publishing.verify import find_version, verify

    root = artifact_root(args.artifacts, args.name)
    pointer = find_version(root, args.channel, args.version)
    try:
        manifest = verify(root, pointer)
    except IntegrityError as error:
        if args.json:
            print_json({"version": pointer.version, "intact": False, "problem": str(error)})
        raise
    total = sum(file.bytes for file in manifest.files)
    say(f"version {manifest.version} is intact: {len(manifest.files) + 1} files, {total:,} bytes")
    if args.json:
        print_json({"version": manifest.version, "intact": True, "files": len(manifest.files) + 1, "bytes": total})
    return 0
