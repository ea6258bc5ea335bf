"""`verify`: is a published version what was published, and with `--deep`, is it right?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from commands.artifact_flags import add_artifact_flags, add_version_flags
from commands.output import add_json_flag, print_json, print_table, say

if TYPE_CHECKING:
    from catalog.channel import Pointer
    from index_builder.publishing.checkup import Finding

HELP = "read back every byte of a published version and compare it with its checksums"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    add_version_flags(parser)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="open it in a fresh process, ask it again, count its rows and ids, and look at what it was made of",
    )
    parser.add_argument("--all", action="store_true", help="every version instead of one")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.errors import IntegrityError
    from catalog.manifest import artifact_root
    from index_builder.publishing.checkup import check_up, versions_there
    from index_builder.publishing.verify import find_version

    root = artifact_root(args.artifacts, args.name)
    pointers = versions_there(root) if args.all else [find_version(root, args.channel, args.version)]
    checked = []
    for pointer in pointers:
        findings = check_up(root, pointer, args.deep)
        checked.append(_describe(pointer, findings))
        if not args.json:
            _print(pointer, findings, args.deep)
    problems = [each["problem"] for each in checked if not each["intact"]]
    if args.json:
        print_json({"intact": not problems, "versions": checked} if args.all else checked[0])
    if problems:
        more = f"; {len(problems) - 1} more versions are damaged" if len(problems) > 1 else ""
        raise IntegrityError(f"{problems[0]}{more}")
    return 0


def _print(pointer: Pointer, findings: list[Finding], deep: bool) -> None:
    wrong = [each for each in findings if not each.ok]
    if deep or wrong:
        print_table(
            ["check", "verdict", "found"], [[each.check, "ok" if each.ok else "wrong", each.says] for each in findings]
        )
    if not wrong:
        files = [each for each in findings if each.bytes is not None]
        total = sum(each.bytes or 0 for each in files)
        say(f"version {pointer.version} is intact: {len(files)} files, {total:,} bytes")


def _describe(pointer: Pointer, findings: list[Finding]) -> dict[str, Any]:
    wrong = [each for each in findings if not each.ok]
    files = [each for each in findings if each.bytes is not None]
    told = {"findings": [each.to_json() for each in findings]}
    if wrong:
        more = f" ({len(wrong) - 1} more findings)" if len(wrong) > 1 else ""
        problem = f"version {pointer.version}: {wrong[0].says}{more}"
        return {"version": pointer.version, "intact": False, "problem": problem, **told}
    return {
        "version": pointer.version,
        "intact": True,
        "files": len(files),
        "bytes": sum(each.bytes or 0 for each in files),
        **told,
    }
