"""How long the pages of a dedupe report take to open in a headless Chromium, from a disk.

`python -m benchmarks.gallery --json` writes the gallery of 100,000 items in 5,000 groups and opens every kind of page
in turn with one file of HTML that holds whole groups, as other tools write it: the first 1,000 of them, for with all of
them it takes minutes and 2 GB. A page is there when its cards are and two frames were drawn; seconds are from the
navigation on, medians of the rounds. Bytes are those of files that the page asked for, nodes those of its document.
"""

from __future__ import annotations

import argparse
import base64
import html
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import interleaved, print_report, ratio
from dedupe.gallery.pictures import BITMAP_HEADER
from dedupe.gallery.write_gallery import write_gallery
from tests.dedupe.gallery.chromium import Chromium, find_chromium
from tests.dedupe.gallery.reports import Report, many_groups, whole_report

_ONE_FILE = "everything.html"
_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="in groups, about")
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--one-file-groups", type=int, default=1_000)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    program = find_chromium()
    if program is None:
        parser.error("there is no Chromium at $CATALOG_CHROMIUM, in .tools/bin or on the PATH")
    made, other = many_groups(args.groups, max(2, args.items // args.groups)), whole_report()
    report = Report(
        made.rows,
        made.uncertain,
        other.placeholders,
        other.conflicts,
        other.unreadable,
        args.pictures,
        other.summary,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "report"
        begun = time.perf_counter()
        pages = write_gallery(str(folder), report.contents())
        writing = time.perf_counter() - begun
        with (folder / _ONE_FILE).open("w", encoding="utf-8") as file:
            file.writelines(one_file(report, args.one_file_groups))
        measured = measure(program, folder, kinds(args.groups), args.rounds)
    print_report(
        "gallery",
        args.json,
        items=len(report.rows),
        groups=args.groups,
        one_file_groups=args.one_file_groups,
        pages=pages,
        seconds_to_write=round(writing, 2),
        **measured,
    )


def kinds(groups: int) -> dict[str, str]:
    """The address of each kind of page. A filter is the work of the page that a link to it opens."""
    return {
        "summary": "index.html",
        "groups": "groups.html",
        "groups, page 100": "groups.html#page=100",
        "groups, a filter by tier and score": "groups.html#tier=embedding&min=0.81",
        "groups, a filter by text": f"groups.html#text=sku-{groups - 1:06d}-1",
        "review": "uncertain.html",
        "leakage": "leakage.html",
        "placeholders": "placeholders.html",
        "label conflicts": "conflicts.html",
        "unreadable": "unreadable.html",
    }


def measure(program: str, folder: Path, addresses: dict[str, str], rounds: int) -> dict[str, Any]:
    """Seconds, bytes and nodes of each kind of page, and how many times as long the one file takes as the groups."""
    facts: dict[str, dict[str, Any]] = {}

    def apart() -> float:
        # In a browser of its own, for what is left of so large a page slows the next ones.
        with tempfile.TemporaryDirectory() as profile, Chromium(program, Path(profile)) as browser:
            return opened(browser, "one file", _ONE_FILE)

    def opened(chromium: Chromium, kind: str, address: str) -> float:
        chromium.call("Network.clearBrowserCache")
        chromium.forget()
        scripted = address.startswith(("groups", "uncertain"))
        ready = "document.documentElement?.dataset.ready" if scripted else "document.readyState === 'complete'"
        chromium.open(f"file://{folder}/{address}", ready, seconds=400)
        seconds = chromium.evaluate(_FRAMES) / 1_000
        files = {each.split("#")[0] for each in chromium.requests if each.startswith("file:")}
        facts[kind] = {
            "bytes": sum(Path(each.removeprefix("file://")).stat().st_size for each in files),
            "files": len(files),
            "nodes": chromium.evaluate("document.querySelectorAll('*').length"),
        }
        return float(seconds)

    with tempfile.TemporaryDirectory() as profile, Chromium(program, Path(profile)) as chromium:
        pages = {kind: partial(opened, chromium, kind, address) for kind, address in addresses.items()}
        found = interleaved(rounds, {"one file": apart, **pages})
    return {
        "kinds": {
            kind: {"seconds": round(statistics.median(seconds), 3), "slowest": round(max(seconds), 3), **facts[kind]}
            for kind, seconds in found.items()
        },
        "one_file_over_groups": ratio(found["one file"], found["groups"]),
        "slowest_page_seconds": round(max(max(each) for kind, each in found.items() if kind != "one file"), 3),
    }


def one_file(report: Report, groups: int) -> Iterator[str]:
    """The first groups in one page, with the texts of each member and its thumbnail."""
    yield '<!DOCTYPE html><meta charset="utf-8"><link rel="stylesheet" href="assets/gallery.css"><main>'
    for group, rows in list(report.groups.items())[:groups]:
        yield f'<article class="group"><h2>Group {html.escape(group)}</h2><ul class="members">'
        for row in rows:
            texts = [row["role"], row["item_id"], row["reason"], row["group_value"], row["image_uri"], row["score"]]
            pixels = BITMAP_HEADER + base64.b64encode(row["thumbnail"]).decode()
            told = "".join(f"<p>{html.escape(str(each))}</p>" for each in texts if each is not None)
            yield (
                '<li class="member"><img class="picture" loading="lazy" width="152" height="152" alt="" '
                f'src="data:image/bmp;base64,{pixels}">{told}</li>'
            )
        yield "</ul></article>"


if __name__ == "__main__":
    main()
