"""`import-vectors`: vectors that something else made to an embedding store."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from catalog.encoder_info import METRICS, VECTOR_TYPES
from commands.output import add_json_flag, print_json, say
from pipelines.flag_types import at_least
from pipelines.flags import add_may_lose_flag

HELP = "make an embedding store of vectors of any origin: .npy, .fvecs, .bvecs, Parquet"
EPILOG = "The same command again publishes nothing unless something has changed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="FILE", help=".npy, .fvecs, .bvecs, .parquet; paths, URLs or globs"
    )
    parser.add_argument("--output", required=True, metavar="EMBEDDINGS", help="the embedding store to create or update")
    parser.add_argument("--metric", required=True, choices=METRICS, help="the measure that the vectors are meant for")
    parser.add_argument("--ids", metavar="FILE", help="a text file of item ids, one a line, in the order of all rows")
    parser.add_argument("--id-column", metavar="C", help="of Parquet (default: item_id or id, or else the row number)")
    parser.add_argument(
        "--vector-column", metavar="C", help="of Parquet (default: embedding, vector, features, or the only list)"
    )
    parser.add_argument(
        "--encoder-name", default="imported", metavar="NAME", help="of what made the vectors (default: %(default)s)"
    )
    parser.add_argument(
        "--fingerprint",
        metavar="TEXT",
        help="whatever tells the model from others: another text is another lineage (default: by name and metric)",
    )
    parser.add_argument(
        "--partitions", type=at_least(1), metavar="N", help="of a new store, a power of two (default: by rows)"
    )
    parser.add_argument(
        "--vector-type", choices=VECTOR_TYPES, help="of a new store (default: float16 if it holds the vectors)"
    )
    add_may_lose_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from catalog.import_vectors import ImportConfig, import_vectors
    from catalog.vector_source import VectorInput

    config = ImportConfig(
        source=VectorInput(tuple(args.input), args.ids, args.id_column, args.vector_column),
        output=args.output,
        metric=args.metric,
        encoder_name=args.encoder_name,
        fingerprint=args.fingerprint,
        vector_type=args.vector_type,
        partitions=args.partitions,
        may_lose=args.may_lose,
    )
    summary = import_vectors(config, say)
    say(
        f"{summary.rows:,} rows: {summary.embedded:,} embedded, {summary.reused:,} reused, {summary.rejected:,} "
        f"rejected, {summary.removed:,} removed; snapshot {summary.snapshot} in {summary.seconds:.1f} s"
    )
    for reason, count in summary.rejects_by_reason.items():
        say(f"  rejected {count:,} as {reason}")
    if args.json:
        print_json(asdict(summary))
    return 0
