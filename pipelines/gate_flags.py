"""The flags of the gates, the same for every command that moves a channel; read without importing Beam."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.flag_types import positive, share

# Of `index_builder.publishing.verdict.Thresholds`.
_FIELDS = (
    "recall_floor",
    "recall_drop",
    "count_drift",
    "list_imbalance",
    "self_lookup",
    "overlap",
    "allow_encoder_change",
)


def add_gate_flags(parser: argparse.ArgumentParser) -> None:
    """Gives a command the thresholds of the gates, and what overrides them."""
    gates = parser.add_argument_group("gates")
    gates.add_argument("--recall-floor", type=share, metavar="R", help="recall@10, at least (default: 0.5)")
    gates.add_argument(
        "--recall-drop",
        type=share,
        metavar="R",
        help="of recall@10 that may be lost against the version on the channel, on the same queries (default: 0.02)",
    )
    gates.add_argument(
        "--count-drift",
        type=positive,
        metavar="SHARE",
        help="by which the number of vectors may differ from that version's (default: 0.2)",
    )
    gates.add_argument(
        "--list-imbalance",
        type=positive,
        metavar="F",
        help="of the inverted lists, at most (default: 10)",
    )
    gates.add_argument(
        "--self-lookup",
        type=share,
        metavar="SHARE",
        help="of the queries that find their own item, at least (default: 0.9)",
    )
    gates.add_argument(
        "--overlap",
        type=share,
        metavar="SHARE",
        help="of that version's answers that are given again, at least (default: 0.5)",
    )
    gates.add_argument(
        "--allow-encoder-change", action="store_true", default=None, help="another encoder than that version's is meant"
    )
    gates.add_argument(
        "--force", action="append", default=[], metavar="GATE", help="override a gate; may be given several times"
    )
    gates.add_argument("--reason", metavar="TEXT", help="why gates are overridden; recorded with the channel's move")


def asked_of(args: argparse.Namespace) -> dict[str, Any]:
    """The thresholds that the flags name."""
    names = [name for name in vars(args) if name in _FIELDS]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def forced_of(args: argparse.Namespace) -> dict[str, str]:
    """The gates to override, each with its reason. Raises UsageError."""
    from index_builder.publishing.verdict import check_forced

    return check_forced(args.force, args.reason)
