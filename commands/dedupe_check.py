"""`dedupe check`: are these images there already?"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from commands.output import add_json_flag, print_json, print_table, say
from pipelines.flag_types import at_least

if TYPE_CHECKING:
    from commands.check_images import CheckImages
    from dedupe.check import Verdict
    from dedupe.job import Layout

HELP = "check a few new images against an embedding store, by the rules of a dedupe report, before they are uploaded"
EPILOG = (
    "Exit codes: 0 every image was compared, 1 some could not be read, 2 wrong usage, 3 some are duplicates and "
    "--fail-on-duplicate was given."
)
# Seconds between lines of progress.
_QUIET = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", required=True, metavar="REPORT", help="the dedupe report whose rules hold")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--image", nargs="+", metavar="FILE", help="images, by path or URL")
    asked.add_argument("--catalog", nargs="+", metavar="FILE", help="or catalogs of them, as embed reads them")
    parser.add_argument(
        "--images-root", metavar="DIR", help="what relative images of --catalog are below (default: the file's folder)"
    )
    parser.add_argument("--allow-http", action="store_true", help="read images of --catalog from web servers too")
    parser.add_argument("--image-template", metavar="T", help="image locations from columns: 'images/{image}.jpg'")
    parser.add_argument("--item-id-column", metavar="C", help="default: item_id, id, ... or else the image column")
    parser.add_argument("--image-column", metavar="C", help="default: image, image_uri, path, ...")
    parser.add_argument(
        "--embeddings", metavar="EMBEDDINGS", help="where the store is (default: the report's; its newest snapshot)"
    )
    parser.add_argument("--encoder", metavar="SPEC", help="where the encoder is now, if it was moved")
    parser.add_argument(
        "-k", type=at_least(1), default=5, metavar="N", help="matches to name of each image (default: %(default)s)"
    )
    parser.add_argument("--fail-on-duplicate", action="store_true", help="exit with 3 when any image is a duplicate")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from commands.check_images import read_images
    from dedupe.check import Checker
    from dedupe.checked_store import read_placeholders, store_of

    started = time.monotonic()
    layout, measure = store_of(args.report, args.embeddings)
    asked = read_images(args, layout.snapshots[0].encoder)
    placeholders = read_placeholders(args.report)
    checker = Checker(layout.job.settings, measure, asked.table, asked.vectors, placeholders, args.k)
    names = [item_id or image for image, item_id in zip(asked.images, asked.item_ids, strict=True)]
    checker.ask_batch(names)
    if names:
        checker.ask_store(layout, _Progress(layout.rows))
    found = checker.verdicts()
    said = [verdict.name for verdict in found]
    seconds = round(time.monotonic() - started, 3)
    for each in asked.unread:
        say(f"{each.image}: {each.reason}{': ' + each.detail if each.detail else ''}")
    if args.json:
        print_json(_json(args, layout, asked, found, seconds))
    else:
        _print(asked, found)
        say(f"{_counted(said)}; {len(asked.unread):,} unread; {layout.rows:,} items in {seconds:.1f} s")
    if args.fail_on_duplicate and "duplicate" in said:
        return 3
    return 1 if asked.unread else 0


class _Progress:
    """Says now and then how far it is."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._said = time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._said > _QUIET:
            self._said = time.monotonic()
            say(f"compared with {done:,} of {self._rows:,} items")


def _counted(said: list[str]) -> str:
    counts = Counter(said)
    return f"{counts['new']:,} new, {counts['duplicate']:,} duplicates, {counts['placeholder']:,} placeholders"


def _json(
    args: argparse.Namespace, layout: Layout, asked: CheckImages, found: list[Verdict], seconds: float
) -> dict[str, Any]:
    images = [
        {
            "image": image,
            "item_id": item_id,
            "verdict": each.name,
            "found": each.found,
            "matches": [asdict(match) for match in each.matches],
        }
        for image, item_id, each in zip(asked.images, asked.item_ids, found, strict=True)
    ]
    counts = Counter(each.name for each in found)
    return {
        "report": args.report,
        "snapshots": [snapshot.sequence for snapshot in layout.snapshots],
        "items": layout.rows,
        "images": images,
        "unread": [asdict(each) for each in asked.unread],
        "counts": {name: counts[name] for name in ("new", "duplicate", "placeholder")},
        "seconds": seconds,
    }


def _print(asked: CheckImages, found: list[Verdict]) -> None:
    rows = []
    for image, verdict in zip(asked.images, found, strict=True):
        if not verdict.matches:
            rows.append([image, verdict.name, "", "", ""])
        for rank, match in enumerate(verdict.matches):
            where = f"{match.dataset}: " if match.dataset else "in this batch: " if match.in_batch else ""
            note = f" (placeholder {match.placeholder})" if match.placeholder else ""
            first = [image, verdict.name] if rank == 0 else ["", ""]
            rows.append([*first, match.tier, f"{match.score:.4f}", f"{where}{match.item_id}{note}"])
    if rows:
        print_table(["image", "verdict", "tier", "score", "item"], rows)
