from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.report_page import report_page

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would make of a page: its text, its tags, and the addresses in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses, self.open = "", list[str](), list[str](), list[str]()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def gate(**changes: Any) -> dict[str, Any]:
    plain = {"gate": "overlap", "passed": True, "value": 0.93751, "threshold": 0.5, "says": "93.8% of the answers"}
    return {**plain, "interval": None, "forced": None, **changes}


def report(**changes: Any) -> dict[str, Any]:
    point = {"nprobe": 8, "rerank": 100, "ef_search": 0, "cost": 12_345, "recall": {"10": 0.91}}
    point["interval"] = {"10": [0.9, 0.92]}
    counts = {"embedded": 1_200, "reused": 34_000, "rejected": 7, "removed": 5, "stale": 0}
    whole = {
        "run": "ab12cd34",
        "config_file": "/etc/nightly.yaml",
        "config": {"name": "shop", "embed": {"catalog": "c.csv"}},
        "host": "night-1",
        "started_at": "2026-11-21T01:00:00+00:00",
        "seconds": 4_000.0,
        "outcome": "done",
        "exit_code": 0,
        "stage": None,
        "error": None,
        "seconds_by_stage": {"embed": 3_600.0, "index": 400.0},
        "counts": {"input": 35_207, **counts, "rejects_by_reason": {"not_found": 7}, "indexed": 35_200},
        "embed": {"snapshot": 12},
        "index": {
            "version": "000012-abc",
            "channel": "prod",
            "promoted": True,
            "index": "IVF64,PQ8",
            "metric": "cosine",
            "vectors": 35_200,
            "dimension": 64,
            "bytes": 1_000_000,
            "bytes_per_vector": 28.4,
            "recall": {"1": 0.95, "10": 0.91},
            "gates": [gate(), gate(gate="recall_floor", passed=False, forced="a fair")],
            "seconds_by_stage": {"another": 1.0, "encode": 250.0, "train": 100.0},
        },
        "replaced": "000011-def",
        "collected": {"deleted": 2, "waiting": 1, "marked": 3, "bytes": 4_000},
        "dedupe": {"dropped": 5, "items": 1_234, "groups": 4, "new": 7, "report": "/d/000002-ab"},
        "pareto": [point],
        "default": {"nprobe": 8, "rerank": 100, "ef_search": 0},
    }
    return {**whole, **changes}


def test_a_page_has_what_the_report_has() -> None:
    page = Page(report_page(report(), b"<svg>picture</svg>"))
    for text in (
        *("shop: done", "run ab12cd34, exit code 0", "1 h 6 min, on night-1", "35,207input", "1,200embedded"),
        *("not_found7", "000012-abc, on channel prod, in place of 000011-def", "IVF64,PQ8, cosine"),
        *("overlappassed0.93750.593.8% of the answers", "recall_floorforced: a fair", "recall@10 0.9100"),
        *("8100012,3450.91000.9000 to 0.9200default", "embedthis run1 h 0 min", "c.csv"),
        "collected2 deleted (4,000 bytes), 1 waiting, 3 marked now",
        "duplicates5 of 1,234 in 4 groups, 7 items new; /d/000002-ab/index.html",
        "trainbuild1 min 40 sencodebuild4 min 10 sanotherbuild1.0 s",
    ):
        assert text in page.text, text
    assert page.open == []
    assert page.addresses == ["data:image/svg+xml;base64," + base64.b64encode(b"<svg>picture</svg>").decode()]
    assert not {"script", "link", "iframe", "form"} & set(page.tags)


def test_a_page_of_a_run_that_came_nowhere_says_so() -> None:
    counts = dict.fromkeys(report()["counts"])
    nowhere = {
        "index": None,
        "embed": None,
        "pareto": [],
        "default": {},
        "replaced": None,
        "collected": None,
        "dedupe": None,
        "counts": counts,
    }
    stopped = {"outcome": "failed", "exit_code": 1, "stage": "embed", "error": "the disk is full"}
    page = Page(report_page(report(**nowhere, **stopped, seconds_by_stage={}), None))
    for text in (
        "shop: failed",
        "Stopped at embed: the disk is full",
        "not embedded to its end",
        "No version",
        "No gate",
    ):
        assert text in page.text
    assert page.addresses == []


def test_a_refused_version_is_told_from_one_that_is_served() -> None:
    index = {**report()["index"], "promoted": False, "gates": [gate(passed=False)]}
    page = Page(report_page(report(index=index, outcome="refused", replaced=None), None))
    assert "000012-abc, on channel candidate, refused by a gate" in page.text
    assert "overlaprefused" in page.text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=("Cs", "Cc"))))
def test_whatever_is_quoted_is_shown_as_it_is_and_is_no_markup(text: str) -> None:
    index = {**report()["index"], "gates": [gate(says=text)], "index": text, "channel": text}
    quoted = report(error=text, stage=text, config_file=text, host=text, index=index)
    page = Page(report_page(quoted, None))
    assert page.tags == Page(report_page(report(error="e", index={**index, "gates": [gate()]}), None)).tags
    assert page.text.count(text) >= 5
