"""`scan`: a folder of category folders to a metadata CSV."""

from __future__ import annotations

import argparse

from commands.output import add_json_flag, print_json, say

HELP = "make a catalog CSV from a folder of category folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="pictures in folders, one a category")
    parser.add_argument("--output", required=True, metavar="CSV", help="the catalog to write")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.scan import scan

    summary = scan(args.folder, args.output)
    say(f"{summary.items:,} images in {summary.categories:,} categories -> {args.output}")
    if args.json:
        print_json({"items": summary.items, "categories": summary.categories, "output": args.output})
    return 0
