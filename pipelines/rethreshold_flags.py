"""The flags of judging the pairs of a report anew."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.flag_types import at_least, share

if TYPE_CHECKING:
    from pipelines.dedupe import RethresholdConfig

_AS_BEFORE = "(default: that of the report)"


def add_rethreshold_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `dedupe rethreshold`: those of `dedupe` that decide about pairs, as the report has them by
    default."""
    parser.add_argument("--report", required=True, metavar="REPORT", help="whose pairs to judge anew")
    parser.add_argument("--output", required=True, metavar="REPORT2", help="where to write the new report")
    parser.add_argument(
        "--threshold", type=share, metavar="S", help=f"score of thumbnail and embedding together {_AS_BEFORE}"
    )
    parser.add_argument(
        "--thumbnail-threshold", type=share, metavar="S", help=f"score of the thumbnail alone {_AS_BEFORE}"
    )
    parser.add_argument("--phash-radius", type=at_least(0), metavar="BITS", help=f"of 64 that may differ {_AS_BEFORE}")
    parser.add_argument("--keeper", metavar="POLICY", help=f"which of a group is kept, as in dedupe {_AS_BEFORE}")
    parser.add_argument(
        "--protect",
        action="append",
        metavar="FILE|COLUMN=VALUE",
        help=f"items that are never dropped; may be given several times {_AS_BEFORE}",
    )
    parser.add_argument("--ignore", metavar="FILE", help=f"CSV of pairs that were found to be different {_AS_BEFORE}")
    parser.add_argument(
        "--placeholder-products",
        type=at_least(1),
        metavar="N",
        help=f"a picture of more products than this is a placeholder {_AS_BEFORE}",
    )
    parser.add_argument(
        "--placeholder-groups",
        type=at_least(1),
        metavar="N",
        help=f"and one of more values of the group column {_AS_BEFORE}",
    )
    parser.add_argument("--assign-splits", metavar="NAME=SHARE,…", help=f"write splits.csv, without leaks {_AS_BEFORE}")
    parser.add_argument(
        "--pictures",
        type=at_least(0),
        default=1_000,
        metavar="N",
        help="images to read for the gallery; others are shown by their stored thumbnail (default: %(default)s)",
    )
    parser.add_argument("--worker-memory", metavar="SIZE", help="Beam hint of every step, such as 8GB")


def rethreshold_config(
    args: argparse.Namespace, beam_arguments: Sequence[str], runs_on: str | None = None
) -> RethresholdConfig:
    """The job that the flags ask for. Raises UsageError."""
    from pipelines.dedupe import RethresholdConfig

    return RethresholdConfig(
        report=args.report,
        output=args.output,
        changed=_changed(args),
        pictures=args.pictures,
        runs_on=runs_on,
        hints={"min_ram": args.worker_memory} if args.worker_memory else {},
        beam_arguments=tuple(beam_arguments),
    )


def _changed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags name."""
    from dedupe.keeper import KeeperPolicy
    from dedupe.reviewed import read_ignored, read_protected
    from dedupe.splits import SplitRatios

    given = {
        "threshold": args.threshold,
        "thumbnail_threshold": args.thumbnail_threshold,
        "phash_radius": args.phash_radius,
        "keeper": args.keeper,
        "placeholder_products": args.placeholder_products,
        "placeholder_groups": args.placeholder_groups,
        "splits": args.assign_splits,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if args.keeper is not None:
        KeeperPolicy.parse(args.keeper)
    if args.assign_splits:
        SplitRatios.parse(args.assign_splits, "--assign-splits")
    if args.protect is not None:
        protection = read_protected(args.protect)
        changed["protected"] = tuple(sorted(protection.ids.to_pylist()))
        changed["protected_values"] = protection.columns
    if args.ignore is not None:
        ignored = read_ignored(args.ignore)
        columns = [ignored[name].to_pylist() for name in ignored.column_names]
        changed["ignored"] = tuple(zip(*columns, strict=True))
    return changed
