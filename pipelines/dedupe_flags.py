"""The flags of the dedupe job."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.errors import UsageError
from pipelines.flag_types import at_least, share

if TYPE_CHECKING:
    from dedupe.settings import Settings
    from pipelines.dedupe import DedupeConfig


def add_dedupe_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the dedupe job."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--embeddings", metavar="EMBEDDINGS", help="the embedding store to look for duplicates in")
    source.add_argument(
        "--datasets",
        metavar="NAME=EMBEDDINGS,…",
        help="several stores, to look for duplicates in and across: train=gs://b/train,test=gs://b/test",
    )
    parser.add_argument("--output", required=True, metavar="REPORT", help="where to write the report")
    parser.add_argument("--snapshot", type=at_least(1), metavar="N", help="of --embeddings (default: the newest)")
    parser.add_argument(
        "--since", metavar="REPORT", help="compare only what is new since an earlier report, and take over its pairs"
    )
    _add_finding(parser)
    _add_deciding(parser)
    parser.add_argument(
        "--pictures",
        type=at_least(0),
        default=1_000,
        metavar="N",
        help="images to read for the gallery; others are shown by their stored thumbnail (default: %(default)s)",
    )
    parser.add_argument("--worker-memory", metavar="SIZE", help="Beam hint of every step, such as 8GB")


def _add_finding(parser: argparse.ArgumentParser) -> None:
    """What is looked for."""
    parser.add_argument(
        "--tiers",
        default="bytes,pixels,phash,thumbnail,embedding",
        help="what looks for duplicates (default: %(default)s)",
    )
    parser.add_argument("--calibration", metavar="DIR", help="what dedupe calibrate wrote: its measure and thresholds")
    parser.add_argument(
        "--threshold", type=share, metavar="S", help="score of thumbnail and embedding together (default: 0.77)"
    )
    parser.add_argument(
        "--thumbnail-threshold", type=share, metavar="S", help="score of the thumbnail alone (default: 0.92)"
    )
    parser.add_argument(
        "--phash-radius", type=at_least(0), default=4, metavar="BITS", help="of 64 that may differ (default: 4)"
    )
    parser.add_argument(
        "--phash-256-radius", type=at_least(0), default=24, metavar="BITS", help="of 256, as well (default: 24)"
    )
    parser.add_argument(
        "--verify",
        choices=["pixels"],
        help="read every image again and compare the pixels of whole pictures, not the stored hashes of them",
    )
    parser.add_argument(
        "--turned", action="store_true", help="also find pictures that were mirrored or turned by quarters"
    )
    parser.add_argument(
        "--normalize",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="take this share of a picture's likeness to others off its scores (default: 0)",
    )
    parser.add_argument(
        "--across", action="store_true", help="only between datasets, or values of --group-column; never within one"
    )
    parser.add_argument("--group-column", metavar="COLUMN", help="metadata column to compare: a split, a vendor")
    parser.add_argument("--label-column", metavar="COLUMN", help="metadata column that duplicates should agree in")


def _add_deciding(parser: argparse.ArgumentParser) -> None:
    """What is done about it."""
    parser.add_argument(
        "--keeper",
        default="resolution,bytes",
        metavar="POLICY",
        help="which of a group is kept: resolution, bytes, medoid, COLUMN:asc, COLUMN:desc, COLUMN=FIRST|SECOND, the "
        "first that tells counts (default: %(default)s)",
    )
    parser.add_argument(
        "--protect",
        action="append",
        default=[],
        metavar="FILE|COLUMN=VALUE",
        help="items that are never dropped; may be given several times",
    )
    parser.add_argument("--ignore", metavar="FILE", help="CSV of pairs that were found to be different")
    parser.add_argument(
        "--placeholder-products",
        type=at_least(1),
        default=10,
        metavar="N",
        help="a picture of more products than this is a placeholder (default: %(default)s)",
    )
    parser.add_argument(
        "--placeholder-groups",
        type=at_least(1),
        metavar="N",
        help="and one of more values of --group-column (default: any number)",
    )
    parser.add_argument(
        "--assign-splits", metavar="NAME=SHARE,…", help="write splits.csv, without leaks: train=0.8,val=0.1,test=0.1"
    )


def dedupe_config(args: argparse.Namespace, beam_arguments: Sequence[str], runs_on: str | None = None) -> DedupeConfig:
    """The dedupe job that the flags ask for. Raises UsageError."""
    from pipelines.dedupe import DedupeConfig

    embeddings = {"": args.embeddings} if args.embeddings else _datasets(args.datasets)
    if args.snapshot is not None and len(embeddings) > 1:
        raise UsageError("--snapshot is for --embeddings; of --datasets the newest snapshots are compared")
    return DedupeConfig(
        embeddings=embeddings,
        output=args.output,
        settings=_settings(args),
        snapshot=args.snapshot,
        calibration=args.calibration,
        since=args.since,
        pictures=args.pictures,
        runs_on=runs_on,
        hints={"min_ram": args.worker_memory} if args.worker_memory else {},
        beam_arguments=tuple(beam_arguments),
    )


def _datasets(text: str) -> dict[str, str]:
    """Stores by name."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, sign, url = (each.strip() for each in part.partition("="))
        if not sign or not name or not url:
            raise UsageError(f"--datasets: {part!r} is not NAME=EMBEDDINGS, as in train=gs://b/train")
        if name in found:
            raise UsageError(f"--datasets names {name!r} twice")
        found[name] = url
    if len(found) < 2:
        raise UsageError("--datasets compares several; for a single store use --embeddings")
    return found


def _calibrated(folder: str | None) -> dict[str, float]:
    """The thresholds that a calibration chose. Raises UsageError where it chose none."""
    if folder is None:
        return {}
    from dedupe.calibration import read_calibration

    chosen = read_calibration(folder).chosen
    if chosen is None:
        raise UsageError(
            f"--calibration {folder}: no thresholds reached its precision; give --threshold, or calibrate anew"
        )
    return {"threshold": chosen.threshold, "thumbnail_threshold": chosen.thumbnail_threshold}


def _settings(args: argparse.Namespace) -> Settings:
    from dedupe.keeper import KeeperPolicy
    from dedupe.reviewed import read_ignored, read_protected
    from dedupe.settings import Settings
    from dedupe.splits import SplitRatios

    KeeperPolicy.parse(args.keeper)
    if args.assign_splits:
        SplitRatios.parse(args.assign_splits, "--assign-splits")
    if args.across and not args.group_column and not args.datasets:
        raise UsageError("--across compares datasets or groups; name them with --datasets or --group-column")
    protection = read_protected(args.protect)
    ignored = read_ignored(args.ignore) if args.ignore else None
    pairs = (
        zip(*(ignored[name].to_pylist() for name in ignored.column_names), strict=True) if ignored is not None else ()
    )
    chosen = {
        **_calibrated(args.calibration),
        **{
            name: value
            for name, value in (("threshold", args.threshold), ("thumbnail_threshold", args.thumbnail_threshold))
            if value is not None
        },
    }
    return Settings(
        tiers=tuple(tier.strip() for tier in args.tiers.split(",")),
        phash_radius=args.phash_radius,
        phash_256_radius=args.phash_256_radius,
        verify=args.verify,
        turned=args.turned,
        keeper=args.keeper,
        group_column=args.group_column,
        label_column=args.label_column,
        across=args.across,
        protected=tuple(sorted(protection.ids.to_pylist())),
        protected_values=protection.columns,
        ignored=tuple(pairs),
        placeholder_products=args.placeholder_products,
        placeholder_groups=args.placeholder_groups,
        splits=args.assign_splits,
        normalization=args.normalize,
        **chosen,
    )
