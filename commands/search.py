"""`search`: what looks like this?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from commands.artifact_flags import add_artifact_flags, add_version_flags
from commands.output import add_json_flag, print_json, print_table
from pipelines.flag_types import at_least

if TYPE_CHECKING:
    from index_builder.searching.matches import Match

HELP = "find the items nearest to an item, an image or a vector"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_artifact_flags(parser)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--item", metavar="ID", help="an item of the index")
    query.add_argument("--image", metavar="FILE", help="an image, encoded by the index's own encoder")
    query.add_argument("--vector", metavar="F.npy", help="a NumPy file with one vector, [d], or many, [n, d]")
    parser.add_argument("-k", type=at_least(1), default=10, help="how many (default: %(default)s)")
    parser.add_argument("--encoder", metavar="SPEC", help="where the encoder is now, for --image, if it was moved")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--nprobe", type=at_least(1), metavar="N", help="inverted lists to visit")
    effort.add_argument(
        "--recall-target", type=_share, metavar="R", help="the cheapest measured point of that recall@10"
    )
    parser.add_argument(
        "--where", action="append", metavar="COLUMN=VALUE", help="only items with this value; repeatable"
    )
    parser.add_argument("--allow-ids", metavar="FILE", help="only these items, one id a line")
    parser.add_argument("--block-ids", metavar="FILE", help="none of these items, one id a line")
    add_version_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from commands.query import answer
    from index_builder.catalog_index import CatalogIndex

    index = CatalogIndex.open(args.artifacts, args.name, args.channel, args.version)
    answers = answer(args, index)
    if args.json:
        results = [[_result(match) for match in matches] for matches in answers.queries]
        body = {"queries": [{"results": each} for each in results]} if answers.many else {"results": results[0]}
        print_json({"version": index.manifest.version, **body})
        return 0
    print(f"version {index.manifest.version}, {index.manifest.metric}")
    for number, matches in enumerate(answers.queries):
        if answers.many:
            print(f"query {number}")
        _print_matches(matches)
    return 0


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _result(match: Match) -> dict[str, Any]:
    result = {name: value for name, value in asdict(match).items() if name != "row"}
    return {**result, "score": round(match.score, 6), "distance": round(match.distance, 6)}


def _print_matches(matches: list[Match]) -> None:
    names = list(dict.fromkeys(name for match in matches for name in match.metadata))
    header = ["rank", "score", "item", "product", *names]
    rows = [
        [
            str(match.rank),
            f"{match.score:.4f}",
            match.item_id,
            match.product_id or "-",
            *(_short(match.metadata.get(name)) for name in names),
        ]
        for match in matches
    ]
    print_table(header, rows)


def _short(value: object, most: int = 40) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
