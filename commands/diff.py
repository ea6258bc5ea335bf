"""`diff`: what is different between two versions?"""

from __future__ import annotations

import argparse
import contextlib
import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commands.artifact_flags import add_artifact_flags
from commands.output import add_json_flag, print_json, print_table, say, written_whole
from commands.words import value

if TYPE_CHECKING:
    from index_builder.publishing.diff import Difference, Line

HELP = "compare two versions: counts, items, metrics, settings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="V1", help="a version, or a channel that points to it")
    parser.add_argument("after", metavar="V2", help="the version to compare with it")
    add_artifact_flags(parser)
    parser.add_argument("--items", metavar="FILE", help="write the items that were added, removed or changed: a CSV")
    parser.add_argument(
        "--manifests-only", action="store_true", help="compare no items, which reads the items and the vectors"
    )
    parser.add_argument("--all", action="store_true", help="show what is the same too")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.errors import UsageError
    from catalog.manifest import artifact_root
    from index_builder.publishing.diff import diff

    if args.items and args.manifests_only:
        raise UsageError("--items needs the items compared; leave --manifests-only out")
    root = artifact_root(args.artifacts, args.name)
    with contextlib.ExitStack() as stack:
        sheet: Any = None
        if args.items:
            sheet = csv.writer(stack.enter_context(written_whole(args.items)))
            sheet.writerow(["change", "item_id"])

        def tell(kind: str, item_ids: Sequence[str]) -> None:
            if sheet is not None:
                sheet.writerows([kind, item_id] for item_id in item_ids)

        found = diff(root, args.before, args.after, tell, not args.manifests_only)
    if args.json:
        print_json(found.to_json())
        return 0
    _print(found, args.all)
    return 0


def _print(found: Difference, everything: bool) -> None:
    header = [found.before.version, found.after.version]
    for section in ("counts", "metrics", "settings", "gates"):
        lines = [line for line in found.lines if line.section == section and (everything or not line.same)]
        if lines:
            print_table([section, *header, ""], [_row(line) for line in lines])
            print()
        else:
            print(f"{section}: the same\n")
    if found.items is not None:
        items = found.items
        changed = "" if items.changed is None else f", {items.changed:,} of them changed"
        print(f"items: {items.added:,} added, {items.removed:,} removed, {items.both:,} in both{changed}")
        say(items.compared)
    print(f"codebook: {found.codebook}")


def _row(line: Line) -> list[str]:
    numbers = all(isinstance(each, (int, float)) for each in (line.before, line.after))
    moved = f"{line.after - line.before:+,}" if numbers and not isinstance(line.after, float) else ""
    if numbers and isinstance(line.after, float):
        moved = f"{line.after - line.before:+.4f}"
    return [line.name, value(line.before), value(line.after), moved]
