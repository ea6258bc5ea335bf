"""The flags of the gates, the same for every command that moves a channel; read without importing Beam."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.flag_types import positive, share

if TYPE_CHECKING:
    from index_builder.publishing.verdict import Thresholds


def add_gate_flags(parser: argparse.ArgumentParser) -> None:
    """Gives a command the thresholds of the gates, and what overrides them."""
    gates = parser.add_argument_group("gates")
    gates.add_argument(
        "--recall-floor", type=share, default=0.5, metavar="R", help="recall@10, at least (default: 0.5)"
    )
    gates.add_argument(
        "--recall-drop",
        type=share,
        default=0.02,
        metavar="R",
        help="of recall@10 that may be lost against the version on the channel, on the same queries (default: 0.02)",
    )
    gates.add_argument(
        "--count-drift",
        type=positive,
        default=0.2,
        metavar="SHARE",
        help="by which the number of vectors may differ from that version's (default: 0.2)",
    )
    gates.add_argument(
        "--list-imbalance",
        type=positive,
        default=10.0,
        metavar="F",
        help="of the inverted lists, at most (default: 10)",
    )
    gates.add_argument(
        "--self-lookup",
        type=share,
        default=0.9,
        metavar="SHARE",
        help="of the queries that find their own item, at least (default: 0.9)",
    )
    gates.add_argument(
        "--overlap",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="of that version's answers that are given again, at least (default: 0.5)",
    )
    gates.add_argument(
        "--allow-encoder-change", action="store_true", help="another encoder than that version's is meant"
    )
    gates.add_argument(
        "--force", action="append", default=[], metavar="GATE", help="override a gate; may be given several times"
    )
    gates.add_argument("--reason", metavar="TEXT", help="why gates are overridden; recorded with the channel's move")


def thresholds_of(args: argparse.Namespace) -> Thresholds:
    """What the flags ask of a version."""
    from index_builder.publishing.verdict import Thresholds

    return Thresholds(
        recall_floor=args.recall_floor,
        recall_drop=args.recall_drop,
        count_drift=args.count_drift,
        list_imbalance=args.list_imbalance,
        self_lookup=args.self_lookup,
        overlap=args.overlap,
        allow_encoder_change=args.allow_encoder_change,
    )


def forced_of(args: argparse.Namespace) -> dict[str, str]:
    """The gates to override, each with its reason. Raises UsageError."""
    from index_builder.publishing.verdict import check_forced

    return check_forced(args.force, args.reason)
