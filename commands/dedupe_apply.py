"""`dedupe apply`: a catalog without the rows of the items that a report drops."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from catalog.storage import redact
from commands.output import add_json_flag, print_json, say

HELP = "write a cleaned catalog: the same rows without those that a report of duplicates drops"
EPILOG = "Neither the catalog nor an image is touched."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", required=True, metavar="REPORT", help="what dedupe wrote")
    parser.add_argument(
        "--catalog",
        nargs="+",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSON Lines (.gz too) or Parquet; paths, URLs or globs",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the cleaned catalog; of several files, a folder for them"
    )
    parser.add_argument("--dataset", metavar="NAME", help="of a report of several datasets, that of the catalog")
    parser.add_argument("--item-id-column", metavar="C", help="default: item_id, id, ... or else the image column")
    parser.add_argument("--image-column", metavar="C", help="default: image, image_uri, path, ...")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from dedupe.apply import apply

    applied = apply(args.report, args.catalog, args.output, args.dataset, args.item_id_column, args.image_column)
    say(
        f"{applied.rows:,} rows: {applied.kept:,} kept, {applied.dropped:,} dropped; of those kept the report does not "
        f"know {applied.not_in_report:,}; of those it drops the catalog does not have {applied.absent:,}"
    )
    for file in applied.files:
        say(f"catalog: {redact(file)}")
    if args.json:
        print_json(asdict(applied))
    return 0
