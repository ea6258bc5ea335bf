"""`dedupe calibrate`: from which likeness on are two pictures the same, measured on the catalog's own."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from commands.output import add_json_flag, print_json, print_table, say
from pipelines.flag_types import at_least, positive, share

if TYPE_CHECKING:
    from dedupe.calibration import Calibration

HELP = "find the thresholds of dedupe, on edits of the catalog's own pictures"
EPILOG = "Pictures of the store are read again, edited and encoded on this machine; nothing is written but OUTPUT."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embeddings", required=True, metavar="EMBEDDINGS", help="the embedding store")
    parser.add_argument("--snapshot", type=at_least(1), metavar="N", help="default: the newest")
    parser.add_argument(
        "--output", required=True, metavar="OUTPUT", help="the folder for calibration.json, measure.npz and closest.csv"
    )
    parser.add_argument(
        "--pictures", type=at_least(1), default=300, metavar="N", help="to make edits of (default: %(default)s)"
    )
    parser.add_argument(
        "--sample",
        type=at_least(2),
        default=20_000,
        metavar="N",
        help="pictures to compare with each other, for what is found wrongly (default: %(default)s)",
    )
    parser.add_argument(
        "--edits", default="default", metavar="EDITS", help="default, all, or names such as crop10,jpeg30"
    )
    parser.add_argument("--flips", action="store_true", help="look for mirrored and turned pictures as well")
    parser.add_argument(
        "--precision", type=share, default=0.99, metavar="P", help="that is wanted (default: %(default)s)"
    )
    parser.add_argument(
        "--copies",
        type=positive,
        default=1.0,
        metavar="N",
        help="edited copies that a picture is taken to have, on average (default: %(default)s)",
    )
    parser.add_argument("--reviewed", metavar="FILE", help="a closest.csv in which somebody filled in verdicts")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from pipelines.calibrate import CalibrateConfig, calibrate

    config = CalibrateConfig(
        embeddings=args.embeddings,
        output=args.output,
        snapshot=args.snapshot,
        pictures=args.pictures,
        sample=args.sample,
        edits=args.edits,
        flips=args.flips,
        precision=args.precision,
        copies=args.copies,
        reviewed=args.reviewed,
    )
    found = calibrate(config, say)
    summary = _summary(found)
    if not args.json:
        _print(found, summary)
    _advise(found, args.output)
    if args.json:
        print_json(summary)
    return 0 if found.chosen else 1


def _summary(found: Calibration) -> dict[str, Any]:
    whole = found.to_json()
    names = ("snapshot", "vectors", "copies", "precision", "pictures", "unread", "chosen", "points", "alone", "edits")
    unrelated = found.unrelated
    return {
        **{name: whole[name] for name in names},
        "sample": unrelated.rows,
        "pairs": unrelated.pairs,
        "left_out": unrelated.left_out,
        "closest": [asdict(pair) for pair in unrelated.closest[:5]],
    }


def _print(found: Calibration, summary: dict[str, Any]) -> None:
    unrelated = found.unrelated
    left_out = sum(unrelated.left_out.values())
    print(
        f"{found.pictures:,} pictures in {len(found.found)} edits; {unrelated.rows:,} pictures with each other, "
        f"{left_out:,} alike pairs left out"
    )
    header = ["point", "threshold", "thumbnails", "recall", "precision", "at least", "wrong pairs", "at most"]
    points = [(name, point) for name, point in summary["points"].items()]
    print_table(header, [_cells(name, point) for name, point in [*points, ("chosen", summary["chosen"])]])
    print()
    print_table(
        ["edit found by", "thumbnails", "combination", "chosen"],
        [[name, *map(_percent, row.values())] for name, row in summary["edits"].items()],
    )


def _cells(name: str, point: dict[str, float] | None) -> list[str]:
    if point is None:
        return [name, *["-"] * 7]
    shares = [f"{point[each]:.1%}" for each in ("recall", "precision", "least_precision")]
    wrong = [f"{point[each]:,.1f}" for each in ("false_pairs", "most_false_pairs")]
    return [name, f"{point['threshold']:.3f}", f"{point['thumbnail_threshold']:.3f}", *shares, *wrong]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _advise(found: Calibration, output: str) -> None:
    """What a person should know of the chosen point."""
    if found.chosen is None:
        say(
            f"no threshold has a precision of {found.precision:g} in this catalog; the highest is "
            f"{found.points().highest_precision():.3f}. Look at the pairs in {output}/closest.csv, give verdicts and "
            "run again with --reviewed, or ask for a lower --precision"
        )
    elif found.chosen.least_precision < found.precision:
        say(
            f"the precision is {found.chosen.precision:.3f} if the pairs in {output}/closest.csv are duplicates, and "
            f"{found.chosen.least_precision:.3f} if they are not; give verdicts and run again with --reviewed to know"
        )
