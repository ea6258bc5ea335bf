"""`rejects`: which rows did not become an embedding, and why; and another try for those that may pass."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from commands.output import add_json_flag, print_json, print_table, say
from pipelines.flag_types import at_least
from pipelines.flags import add_engine_flag

if TYPE_CHECKING:
    from catalog.snapshot import Snapshot

HELP = "count what was rejected, by reason, show some of it, and try again what may pass"
EPILOG = "Flags after -- go to Apache Beam, with --retry."
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embeddings", required=True, metavar="EMBEDDINGS", help="the embedding store")
    parser.add_argument("--snapshot", type=int, metavar="N", help="default: the newest")
    parser.add_argument("--reason", metavar="REASON", help="only this one")
    parser.add_argument(
        "--sample", type=at_least(0), default=3, metavar="N", help="rows of each reason to show (default: 3)"
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="run the embed job again as it was launched: timeouts, refusals and failed reads are tried again",
    )
    add_engine_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog import storage
    from catalog.errors import UsageError
    from catalog.reject_report import report_rejects
    from catalog.rejects import Reason
    from catalog.snapshot import latest_snapshot, read_snapshot

    store = storage.absolute(args.embeddings)
    snapshot = latest_snapshot(store) if args.snapshot is None else read_snapshot(store, args.snapshot)
    if snapshot is None:
        raise UsageError(f"--embeddings {args.embeddings} has no snapshot yet; run embed first")
    if args.reason is not None and args.reason not in set(Reason):
        raise UsageError(f"--reason {args.reason} is unknown; expected one of {', '.join(Reason)}")
    if args.retry and args.snapshot is not None:
        raise UsageError("--retry goes on from the newest snapshot; leave --snapshot out")
    report = report_rejects(store, snapshot, args.reason, args.sample)
    total = sum(report.counts.values())
    say(
        f"snapshot {snapshot.sequence}: {total:,} of {snapshot.counts.rows:,} rows rejected, {report.transient:,} of "
        "them for a reason that may pass"
    )
    if not args.json:
        _print(report.counts, report.samples)
    result = {
        "snapshot": snapshot.sequence,
        "rejected": total,
        "transient": report.transient,
        "counts": report.counts,
        "samples": {reason: [asdict(row) for row in rows] for reason, rows in report.samples.items()},
    }
    if args.retry:
        waiting = report.transient + snapshot.counts.stale
        if not waiting:
            say("there is nothing to try again")
        result["retry"] = _retry(store, snapshot, args.beam_arguments, args.engine) if waiting else None
    if args.json:
        print_json(result)
    return 0


def _print(counts: dict[str, int], samples: dict) -> None:
    if counts:
        print_table(["reason", "rows"], [[reason, f"{count:,}"] for reason, count in counts.items()])
    for reason, rows in samples.items():
        if rows:
            print(f"\n{reason}:")
        for row in rows:
            print(f"  {row.item_id or '(no id)'}  {row.origin}  {row.image_uri or '-'}  {row.detail or ''}".rstrip())


def _retry(store: str, snapshot: Snapshot, beam_arguments: tuple[str, ...], runs_on: str | None) -> dict:
    from commands.progress import ProgressReport
    from pipelines.embed import embed
    from pipelines.retry import config_of

    report = ProgressReport()
    try:
        summary = embed(config_of(store, snapshot, beam_arguments, runs_on), say, report)
    finally:
        report.close()
    say(f"tried again: {summary.embedded:,} embedded, {summary.rejected:,} still rejected; snapshot {summary.snapshot}")
    return asdict(summary)
