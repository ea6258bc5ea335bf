"""The pages without scripts: what they say, and that whatever they quote stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupe.gallery.drawings import calibration_curve, histogram
from dedupe.gallery.leakage_page import leakage_page
from dedupe.gallery.list_pages import conflicts_page, placeholders_page, unreadable_page
from dedupe.gallery.page import PAGES
from dedupe.gallery.pictures import Pictures
from dedupe.gallery.summary_page import summary_page
from tests.dedupe.gallery.reports import Report, hostile_report, many_groups, summary_of, whole_report

VOID = {"meta", "img", "br", "link", "input"}
NO_PICTURES = Pictures(lambda uri: None, lambda name, data: None)


class Page(HTMLParser):
    """What a browser would make of a page: its text, its tags, and the addresses in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses, self.open = "", list[str](), list[str](), list[str]()
        self.feed(text)
        self.close()
        assert self.open == []

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


def test_counts_on_the_first_page_are_those_of_the_summary_and_add_up() -> None:
    report = whole_report()
    summary = summary_of(report)
    page = summary_page(summary, len(report.uncertain), 20)
    for name, value in re.findall(r'data-count="(\w+)"><b>([\d,]+)</b>', page):
        assert int(value.replace(",", "")) == summary[name]
    text = Page(page).text
    assert f"{summary['rows']:,} rows of the catalog = {summary['items']:,} items + 1 unreadable ✓" in text
    assert f"{summary['items']:,} items = {summary['kept']:,} kept + {summary['dropped']:,} dropped ✓" in text
    tiers = " + ".join(f"{count:,} {tier}" for tier, count in summary["by_tier"].items())
    assert f"{summary['dropped']:,} dropped = {tiers} ✓" in text
    assert "off by" not in text


def test_counts_that_do_not_add_up_are_told() -> None:
    summary = summary_of(whole_report())
    page = Page(summary_page({**summary, "kept": summary["kept"] - 3}, 0, 0))
    assert page.text.count("✓") == 2
    assert "off by -3" in page.text


def test_the_first_page_leads_to_what_there_is_to_look_at() -> None:
    report = whole_report()
    page = Page(summary_page({**summary_of(report), **report.summary}, 100, 20))
    for step in ("uncertain.html", "groups.html", "leakage.html", "groups.html#cross=1", "placeholders.html"):
        assert step in page.addresses
    assert "Review the 100 least certain pairs" in page.text
    assert "P90 (chosen)" in page.text
    assert "Expected precision: 0.9100" in page.text


def test_a_threshold_without_a_calibration_is_said_to_have_none() -> None:
    text = Page(summary_page(summary_of(many_groups(3)), 0, 0)).text
    assert "from a score of 0.9000 on" in text
    assert "not calibrated" in text


def bars(svg: str) -> list[tuple[float, float]]:
    """Left edge and height of each bar."""
    return [
        (float(x), float(tall)) for x, tall in re.findall(r'class="bar" x="([\d.]+)" y="[\d.]+" height="([\d.]+)"', svg)
    ]


def test_bars_are_as_tall_as_their_counts_a_panel_a_tier() -> None:
    svg = histogram([0.0, 0.5, 1.0], {"phash": [10, 40], "embedding": [2, 0], "bytes": [0, 0]}, 0.5)
    (left, low), (right, high), (again, alone) = bars(svg)
    assert high == alone == pytest.approx(4 * low)
    assert left == again < right
    assert "phash, tallest bar 40 pairs" in svg
    assert ">bytes" not in svg
    # The threshold is where the second bar begins.
    assert f'class="mark" x1="{right}"' in svg


@pytest.mark.parametrize("threshold", [None, -1.0, 2.0])
def test_a_threshold_off_the_axis_is_not_drawn(threshold: float | None) -> None:
    assert "mark" not in histogram([0.0, 1.0], {"phash": [1]}, threshold)


@pytest.mark.parametrize(("edges", "counts"), [([], {}), ([0.5, 0.5], {"phash": [1]}), ([0, 1], {"phash": [0]})])
def test_no_scores_are_said_to_be_none(edges: list[float], counts: dict[str, list[int]]) -> None:
    assert histogram(edges, counts, 0.5) == "<p>No pair has a score.</p>"


def test_a_curve_is_drawn_in_the_order_of_its_thresholds() -> None:
    svg = calibration_curve([[1.0, 1.0, 0.0], [0.0, 0.5, 1.0], [0.5, None, 1.0]], 0.5)  # type: ignore[list-item]
    (precision, recall) = re.findall(r'points="([^"]+)"', svg)
    assert precision == "30.0,70.0 350.0,10.0"
    assert recall == "30.0,10.0 350.0,130.0"
    assert calibration_curve([[1.0, 1.0, 0.0]], 0.5) == ""


def test_leakage_is_a_matrix_and_the_worst_of_it_first() -> None:
    leakage = {
        "column": "split",
        "values": ["train", "test", "val"],
        "items": [1_000, 500, 0],
        "leaking": [[40, 12, 0], [20, 30, 0], [0, 0, 0]],
        "pairs": [[50, 13, 0], [13, 31, 0], [0, 0, 0]],
    }
    text = Page(leakage_page(leakage)).text
    assert text.index("test in train") < text.index("train in test")
    assert "test in train204.0 %13" in text
    assert "test5002030" in text.replace("\n", "")
    assert "val in" not in text


def test_leakage_among_very_many_values_shows_those_that_leak_most() -> None:
    size = 200
    leaking = [[int(row == 7 and column == 150) for column in range(size)] for row in range(size)]
    page = leakage_page(
        {"column": "vendor", "values": list(range(size)), "items": [9] * size, "leaking": leaking, "pairs": leaking}
    )
    assert len(page) < 150_000
    assert "The 40 values that leak most, of 200" in page
    assert Page(page).text.count("7 in 150") == 1
    assert '<th scope="row"><bdi>150</bdi>' in page


def test_no_leakage_is_told_from_none_looked_for() -> None:
    nothing = {"column": "split", "values": ["a", "b"], "items": [1, 1], "leaking": [[0, 0]] * 2, "pairs": [[0, 0]] * 2}
    assert "Nothing crosses" in leakage_page(nothing)
    assert "compares no data sets" in leakage_page(None)


def test_a_long_list_ends_and_says_so() -> None:
    rows = ({"group_id": str(number), "labels": ["a", "b"], "items": 2} for number in range(10_000))
    page = conflicts_page(rows)
    assert page.count("<li>") == 500
    assert "These are the first 500." in page
    heavy = ({"item_id": "i" * 290, "reason": "r" * 1_000, "detail": "d" * 290} for _ in range(10_000))
    assert len(unreadable_page(heavy, {})) < 210_000


def test_placeholders_and_unreadable_rows_are_told() -> None:
    report = whole_report()
    text = Page(placeholders_page(report.placeholders, NO_PICTURES, summary_of(report))).text
    assert "120 items, 80 products, 5 group values" in text
    assert "one picture under 80 products" in text
    text = Page(unreadable_page(report.unreadable, summary_of(report))).text
    assert "cut-1, truncated, ends early, gs://shop/cut.jpg" in text
    assert "truncated1" in text.replace("\n", "")


def test_a_conflict_leads_to_its_group() -> None:
    page = Page(conflicts_page([{"group_id": "a&b=c #1", "labels": [f"l{n}" for n in range(20)], "items": 3}]))
    assert "groups.html#group=a%26b%3Dc+%231" in page.addresses
    assert "and 8 more" in page.text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=("Cs", "Cc")), min_size=1))
def test_whatever_is_quoted_is_shown_as_it_is_and_is_no_markup(text: str) -> None:
    def pages(quoted: str) -> list[str]:
        row: dict[str, Any] = dict.fromkeys(("group_id", "item_id", "image_uri", "reason", "detail", "why"), quoted)
        leakage = {"column": quoted, "values": [quoted], "items": [1], "leaking": [[1]], "pairs": [[1]]}
        summary = {**summary_of(Report([])), "leakage": leakage, "datasets": [quoted]}
        return [
            summary_page(summary, 1, 1),
            leakage_page(leakage),
            placeholders_page([row], NO_PICTURES, summary),
            conflicts_page([{**row, "labels": [quoted], "items": 2}]),
            unreadable_page([row], summary),
        ]

    for quoted, plain in zip(map(Page, pages(text)), map(Page, pages("plain")), strict=True):
        assert quoted.tags == plain.tags
        assert (text if len(text) <= 300 else text[:299] + "…") in quoted.text


def test_every_page_of_a_hostile_report_has_the_tags_of_a_plain_one(written: Callable[[Report], Path]) -> None:
    folder = written(hostile_report())
    for name in PAGES:
        page = Page((folder / name).read_text("utf-8"))
        assert set(page.addresses) >= {"assets/gallery.css", *PAGES}
        assert not {address for address in page.addresses if re.match(r"\w+:", address) and address != "data:,"}
        assert page.tags.count("script") == (2 if name in ("groups.html", "uncertain.html") else 0)
