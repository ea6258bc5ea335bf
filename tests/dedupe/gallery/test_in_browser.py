"""The gallery in a real browser, from a disk: filters, keys, reviews, and that nothing is asked of anybody."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dedupe.gallery.contents import TIERS
from dedupe.gallery.page import PAGES
from tests.dedupe.gallery.chromium import Chromium
from tests.dedupe.gallery.reports import (
    HOSTILE,
    Report,
    dropped,
    hostile_report,
    many_groups,
    member,
    pair,
    whole_report,
)

Write = Callable[[Report], Path]

READY = "document.documentElement?.dataset.ready"
SCRIPTED = ("groups.html", "uncertain.html")


def show(chromium: Chromium, folder: Path, name: str) -> None:
    """Opens a page of a gallery and waits until it shows what it has."""
    ready = READY if name.split("#")[0] in SCRIPTED else "document.readyState === 'complete'"
    chromium.open(f"file://{folder}/{name}", ready)


def turn_to(chromium: Chromium, fragment: str) -> None:
    """Follows a link within a page."""
    chromium.evaluate(f"location.hash = {json.dumps(fragment)}")
    chromium.wait(f"{READY} === {json.dumps(fragment)}")


def groups_on(chromium: Chromium) -> list[str]:
    """The ids of the groups that the page shows."""
    return chromium.evaluate("[...document.querySelectorAll('#cards h2 bdi')].map((each) => each.textContent)")


def status(chromium: Chromium) -> str:
    return chromium.evaluate("document.getElementById('status').textContent")


def all_found(chromium: Chromium, query: str) -> list[str]:
    """The ids of the groups on all pages of a filter."""
    found: list[str] = []
    page = 1
    while True:
        turn_to(chromium, f"#{query}" if page == 1 else f"#{query}&page={page}")
        found += groups_on(chromium)
        if not chromium.evaluate("document.querySelector('.pager a[rel=next]') !== null"):
            return found
        page += 1


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_but_files_beside_it_and_has_no_errors(
    chromium: Chromium, written: Write, name: str
) -> None:
    folder = written(whole_report())
    show(chromium, folder, name)
    chromium.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert chromium.requests
    assert [each for each in chromium.requests if not each.startswith((f"file://{folder}/", "about:"))] == []
    assert chromium.complaints == []


def test_a_page_may_ask_nobody_even_if_it_tried(chromium: Chromium, written: Write) -> None:
    show(chromium, written(whole_report()), "groups.html")
    tried = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')"
    assert chromium.evaluate(tried) == "refused"
    image = "const image = new Image(); image.onerror = () => done('refused'); image.src = 'http://127.0.0.1:9/'"
    assert chromium.evaluate(f"new Promise((done) => {{ {image} }})") == "refused"
    inline = "document.head.append(Object.assign(document.createElement('script'), { text: 'document.title = 1' }))"
    chromium.evaluate(inline)
    assert chromium.evaluate("document.title") != "1"
    assert any("Content Security Policy" in each for each in chromium.complaints)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("report", [whole_report, hostile_report])
def test_a_page_fits_a_phone(chromium: Chromium, written: Write, name: str, report: Callable[[], Report]) -> None:
    chromium.resize(360)
    show(chromium, written(report()), name)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 360
    ends = (
        "[...document.querySelectorAll('main button, main input, main a')].map((e) => e.getBoundingClientRect().right)"
    )
    assert max(chromium.evaluate(ends), default=0) <= 360


def test_members_are_side_by_side_on_a_phone_too(chromium: Chromium, written: Write) -> None:
    chromium.resize(360)
    folder = written(whole_report())
    for name in SCRIPTED:
        show(chromium, folder, name)
        tops = "[...document.querySelectorAll('.member')].slice(0, 2).map((each) => each.getBoundingClientRect().top)"
        one, other = chromium.evaluate(tops)
        assert one == other


@pytest.mark.parametrize("name", PAGES)
def test_hostile_texts_are_shown_and_do_nothing(chromium: Chromium, written: Write, name: str) -> None:
    folder = written(hostile_report())
    show(chromium, folder, name)
    chromium.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert chromium.evaluate("document.title") == f"{PAGES[name]}: duplicates"
    assert chromium.evaluate("document.querySelectorAll('main script, main iframe, main [onerror]').length") == 0
    assert chromium.evaluate("[...document.links].every((link) => link.protocol === 'file:')")
    assert chromium.complaints == []
    shown = set(chromium.evaluate("[...document.querySelectorAll('bdi')].map((each) => each.textContent)"))
    # A parser of HTML makes one line feed of a carriage return and a line feed.
    expected = {text.replace("\r\n", "\n") if name not in SCRIPTED else text for text in HOSTILE}
    assert expected <= shown


def test_groups_are_shown_page_by_page_with_the_keeper_marked_and_why(chromium: Chromium, written: Write) -> None:
    report = many_groups(90)
    folder = written(report)
    show(chromium, folder, "groups.html")
    found = groups_on(chromium)
    assert status(chromium) == "90 groups. Page 1 of 3."
    for page in (2, 3):
        turn_to(chromium, f"#page={page}")
        found += groups_on(chromium)
    assert found == list(report.groups)
    show(chromium, folder, "groups.html")
    first = chromium.evaluate(
        "[...document.querySelector('.group').querySelectorAll('.member')].map((e) => e.innerText)"
    )
    rows = report.groups[found[0]]
    assert len(first) == len(rows)
    assert "★ keeper" in first[0]
    assert rows[0]["reason"] in first[0]
    for shown, row in zip(first[1:], rows[1:], strict=True):
        assert "keeper" not in shown
        assert row["item_id"] in shown
        assert f"same {row['tier']} as {row['kept_item_id']}" in shown


def test_a_group_of_many_says_how_many_more(chromium: Chromium, written: Write) -> None:
    rows = [member("g", "k"), *(dropped("g", f"d{number}", "k", "bytes", None) for number in range(1_999))]
    show(chromium, written(Report(rows)), "groups.html")
    assert chromium.evaluate("document.querySelectorAll('.member').length") == 24
    assert chromium.evaluate("document.querySelector('.more').textContent") == "and 1,976 more items"
    turn_to(chromium, "#text=d1998")
    assert groups_on(chromium) == ["g"]


FILTERS: dict[str, Callable[[list[dict[str, Any]]], bool]] = {
    "tier=embedding": lambda rows: any(row["tier"] == "embedding" for row in rows),
    "tier=bytes,phash": lambda rows: any(row["tier"] in ("bytes", "phash") for row in rows),
    "min=0.9": lambda rows: lowest(rows) >= 0.9,
    "min=0.82&max=0.88": lambda rows: 0.82 <= lowest(rows) <= 0.88,
    "from=5": lambda rows: len(rows) >= 5,
    "from=2&to=3": lambda rows: len(rows) <= 3,
    "cross=1": lambda rows: len({row["group_value"] for row in rows}) > 1,
    "text=SKU-00001": lambda rows: any("sku-00001" in row["item_id"] for row in rows),
    "group=g000012": lambda rows: rows[0]["group_id"] == "g000012",
    "tier=thumbnail&cross=1&to=4": lambda rows: (
        any(row["tier"] == "thumbnail" for row in rows)
        and len({row["group_value"] for row in rows}) > 1
        and len(rows) <= 4
    ),
    "text=nothing-like-this": lambda rows: False,
}


def lowest(rows: list[dict[str, Any]]) -> float:
    """NaN, which no bound holds, where no member has a score."""
    return min((row["score"] for row in rows if row["score"] is not None), default=float("nan"))


def test_filters_find_among_all_groups_what_a_walk_over_the_rows_finds(chromium: Chromium, written: Write) -> None:
    report = many_groups(150)
    show(chromium, written(report), "groups.html")
    for query, matches in FILTERS.items():
        expected = [group for group, rows in report.groups.items() if matches(rows)]
        assert all_found(chromium, query) == expected, query
        assert status(chromium).startswith(f"{len(expected)} of 150 groups match."), query


def test_what_is_filled_into_the_form_is_asked_and_can_be_passed_on(chromium: Chromium, written: Write) -> None:
    report = many_groups(60)
    show(chromium, written(report), "groups.html")
    chromium.press("/")
    chromium.press(*"000007")
    chromium.wait("location.hash === '#text=000007'")
    chromium.wait(f"{READY} === '#text=000007'")
    assert groups_on(chromium) == ["g000007"]
    chromium.evaluate("document.querySelector('[name=tier][value=pixels]').click()")
    chromium.wait("location.hash === '#text=000007&tier=pixels'")
    chromium.evaluate("document.querySelector('[type=reset]').click()")
    chromium.wait(f"{READY} === '#'")
    assert status(chromium) == "60 groups. Page 1 of 2."
    turn_to(chromium, "#min=0.9&tier=phash,embedding&cross=1")
    filled = chromium.evaluate("[...new FormData(document.getElementById('filters'))].filter(([, value]) => value)")
    assert filled == [["tier", "phash"], ["tier", "embedding"], ["min", "0.9"], ["cross", "on"]]


def test_keys_go_from_group_to_group_and_turn_the_page(chromium: Chromium, written: Write) -> None:
    show(chromium, written(many_groups(90)), "groups.html")
    here = "document.activeElement.querySelector('h2 bdi')?.textContent"
    for key, group in (("j", 0), ("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        chromium.press(key)
        assert chromium.evaluate(here) == f"g{group:06d}"
    assert chromium.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    chromium.press("n")
    chromium.wait(f"{READY} === '#page=2'")
    assert chromium.evaluate("document.activeElement.id") == "status"
    assert groups_on(chromium)[0] == "g000040"
    chromium.press("p")
    chromium.wait(f"{READY} === '#'")
    chromium.press("/", "j")
    assert chromium.evaluate("[document.activeElement.name, document.activeElement.value]") == ["text", "j"]


def test_the_first_tab_skips_to_the_content(chromium: Chromium, written: Write) -> None:
    show(chromium, written(many_groups(50)), "groups.html#page=2")
    chromium.press("Tab")
    assert chromium.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert chromium.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    chromium.press("Enter")
    chromium.wait("document.activeElement.id === 'main'")
    assert chromium.evaluate("location.hash") == "#page=2"


@pytest.mark.parametrize("name", PAGES)
def test_everything_that_can_be_used_has_a_name(chromium: Chromium, written: Write, name: str) -> None:
    show(chromium, written(whole_report()), name)
    nodes = chromium.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "link", "checkbox", "textbox", "spinbutton", "searchbox", "image", "article", "navigation")
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def exported(chromium: Chromium) -> list[list[str]]:
    """The rows of the list of reviewed pairs, without the header."""
    path = chromium.downloads / "reviewed-pairs.csv"
    path.unlink(missing_ok=True)
    chromium.evaluate("document.getElementById('export').click()")
    chromium.wait_for(lambda: path.exists() and path.stat().st_size > 0, "the exported pairs")
    header, *rows = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert header == ["item_id", "other_item_id", "verdict"]
    return rows


def test_reviewed_pairs_are_exported_and_remembered(chromium: Chromium, written: Write) -> None:
    report = many_groups(130)
    folder = written(report)
    show(chromium, folder, "uncertain.html")
    assert chromium.evaluate("document.getElementById('export').disabled")
    chromium.press("j", "d", "j", "s", "j", "d", "d")
    turn_to(chromium, "#page=2")
    chromium.evaluate("document.querySelectorAll('.pair')[1].querySelector('[value=different]').click()")
    chromium.evaluate("document.querySelectorAll('.pair')[2].querySelector('[value=same]').click()")
    chromium.evaluate("document.querySelectorAll('.pair')[2].querySelector('[value=different]').click()")
    ids = [[each["item_id"], each["other_item_id"]] for each in report.uncertain]
    expected = [
        [*ids[0], "different"],
        [*ids[1], "same"],
        [*ids[51], "different"],
        [*ids[52], "different"],
    ]
    assert exported(chromium) == expected
    show(chromium, folder, "uncertain.html")
    assert chromium.evaluate("[...document.querySelectorAll('.pair :checked')].map((box) => box.value)") == [
        "different",
        "same",
    ]
    assert exported(chromium) == expected
    chromium.evaluate("document.getElementById('clear').click()")
    assert chromium.evaluate("document.querySelectorAll('.pair :checked').length") == 0
    assert chromium.evaluate("document.getElementById('export').disabled")


def test_ids_of_any_letters_come_out_of_the_export_as_they_are(chromium: Chromium, written: Write) -> None:
    show(chromium, written(hostile_report()), "uncertain.html")
    for _ in HOSTILE:
        chromium.press("j", "d")
    pairs = [[text, HOSTILE[(at + 1) % len(HOSTILE)], "different"] for at, text in enumerate(HOSTILE)]
    assert exported(chromium) == pairs
    chromium.evaluate("document.getElementById('clear').click()")


def test_pairs_are_reviewed_where_the_browser_keeps_nothing(chromium: Chromium, written: Write) -> None:
    folder = written(many_groups(60))
    forbidden = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('not allowed'); } })"
    script = chromium.call("Page.addScriptToEvaluateOnNewDocument", source=forbidden)["identifier"]
    try:
        show(chromium, folder, "uncertain.html")
        chromium.press("j", "d")
        turn_to(chromium, "#page=2")
        turn_to(chromium, "#page=1")
        assert chromium.evaluate("document.querySelectorAll('.pair :checked').length") == 1
        assert exported(chromium) == [["sku-000000-0", "sku-000000-1", "different"]]
        assert chromium.complaints == []
    finally:
        chromium.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_a_pair_leads_to_its_group(chromium: Chromium, written: Write) -> None:
    rows = [
        row
        for group in ("a&b", 'x "1"', "plain")
        for row in (member(group, f"{group} k"), dropped(group, f"{group} d", f"{group} k", "phash", 0.9))
    ]
    report = Report(rows, [pair('x "1" k', 'x "1" d', group_id='x "1"'), pair("a", "b", group_id="a&b")])
    folder = written(report)
    for at, group in enumerate(('x "1"', "a&b")):
        show(chromium, folder, "uncertain.html")
        # Later, so that the page is still there to answer.
        chromium.evaluate(f"setTimeout(() => document.querySelectorAll('.pair a')[{at}].click(), 20) && 0")
        chromium.wait(f"location.pathname.endsWith('groups.html') && {READY}")
        assert groups_on(chromium) == [group]


def test_pictures_are_lazy_have_a_size_and_thumbnails_stand_for_those_that_are_not_there(
    chromium: Chromium, written: Write
) -> None:
    folder = written(whole_report(pictures=230))
    show(chromium, folder, "groups.html")
    pictures = chromium.evaluate(
        "[...document.querySelectorAll('.member img')]"
        ".map((each) => [each.loading, each.width > 0, each.getAttribute('height'), each.src])"
    )
    assert pictures
    assert {(lazy, width, height) for lazy, width, height, _ in pictures} == {("lazy", True, "152")}
    kinds = {source.split(":")[0] for *_, source in pictures}
    assert kinds == {"file", "data"}
    first = "document.querySelector('.member img[src^=data]')"
    chromium.evaluate(f"{first}.scrollIntoView()")
    chromium.wait(f"{first}.naturalWidth === 8")
    shutil.rmtree(folder / "pictures")
    show(chromium, folder, "groups.html")
    chromium.evaluate("window.scrollTo(0, 1)")
    chromium.wait("document.querySelector('.picture.none') !== null")


def test_a_file_that_is_missing_is_told(chromium: Chromium, written: Write) -> None:
    folder = written(many_groups(50))
    (folder / "data" / "groups-000001.js").unlink()
    show(chromium, folder, "groups.html")
    chromium.evaluate("location.hash = '#page=2'")
    chromium.wait("document.getElementById('status').textContent.includes('groups-000001.js cannot be read')")


@pytest.mark.parametrize("name", ["index.html", "groups.html", "uncertain.html"])
def test_a_page_of_a_large_report_is_light(chromium: Chromium, written: Write, name: str) -> None:
    folder = written(many_groups(800, members=20))
    show(chromium, folder, name)
    loaded = {each.removeprefix(f"file://{folder}/") for each in chromium.requests if each.startswith("file:")}
    files = [folder / each for each in loaded if not each.startswith("pictures/")]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert chromium.evaluate("document.querySelectorAll('*').length") < 12_000


def test_colours_follow_the_system(chromium: Chromium, written: Write) -> None:
    show(chromium, written(many_groups(3)), "groups.html")
    seen = []
    for scheme in ("light", "dark"):
        chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen.append(chromium.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert seen == ["rgb(255, 255, 255)", "rgb(20, 24, 29)"]
    chromium.call("Emulation.setEmulatedMedia", features=[])


def test_the_page_knows_the_tiers_by_their_names(chromium: Chromium, written: Write) -> None:
    show(chromium, written(many_groups(3)), "groups.html")
    assert chromium.evaluate("[...document.querySelectorAll('[name=tier]')].map((box) => box.value)") == list(TIERS)
