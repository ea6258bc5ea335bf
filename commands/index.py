"""`index`: an embedding store to a published version."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from commands.output import add_json_flag, print_json, say

HELP = "train, build, evaluate and publish an index of an embedding store"
EPILOG = (
    "Flags after -- go to Apache Beam. The same command again builds nothing: a version is named by what it is made of."
)
TAKES_BEAM_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embeddings", required=True, metavar="EMBEDDINGS", help="the embedding store to index")
    parser.add_argument("--artifacts", required=True, metavar="ARTIFACTS", help="the artifact store to publish to")
    parser.add_argument("--name", required=True, help="name of the index in the artifact store")
    parser.add_argument("--metric", help="cosine, dot, l2 or l1 (default: what the encoder is meant for)")
    parser.add_argument("--snapshot", type=int, metavar="N", help="default: the newest")
    parser.add_argument(
        "--rerank",
        choices=["auto", "stored", "none"],
        default="auto",
        help="keep the vectors in the version and order results by them (default: auto, up to 4 GiB)",
    )
    parser.add_argument("--channel", default="prod", help="channel to point to the new version (default: %(default)s)")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from pipelines.index import IndexConfig, index

    config = IndexConfig(
        embeddings=args.embeddings,
        artifacts=args.artifacts,
        name=args.name,
        metric=args.metric,
        snapshot=args.snapshot,
        rerank=args.rerank,
        channel=args.channel,
        beam_arguments=args.beam_arguments,
    )
    summary = index(config, say)
    recall = ", ".join(f"recall@{depth} {value:.3f}" for depth, value in summary.recall.items())
    say(
        f"version {summary.version} on channel {summary.channel}: {summary.vectors:,} vectors, {summary.index}, "
        f"{summary.bytes_per_vector:.0f} bytes a vector; {recall}; {summary.seconds:.1f} s"
    )
    if args.json:
        print_json(asdict(summary))
    return 0
