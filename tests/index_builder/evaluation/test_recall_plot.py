from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from catalog.errors import MissingExtraError
from index_builder.evaluation.operating_points import MeasuredPoint
from index_builder.evaluation.recall_plot import draw_recall
from index_builder.evaluation.timings import Timing, Timings
from index_builder.searching.searcher import OperatingPoint

SVG = "{http://www.w3.org/2000/svg}"


def points_and_timings(count: int, ef_search: int = 0) -> tuple[list[MeasuredPoint], Timings]:
    points, timed = [], []
    for number in range(count):
        point, recall = OperatingPoint(1 << number, 16, ef_search), 1 - 0.6 * 0.6**number
        points.append(MeasuredPoint(point, 100 << number, {"10": recall}, {"10": (recall - 0.02, recall + 0.01)}))
        timed.append(Timing(point, 100, 0.05 * 2**number, 0.2 * 2**number, 20_000 / 2**number))
    return points, Timings(4, timed)


def texts(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return [(each.text or "").strip() for each in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("count", [1, 2, 6, 20])
def test_the_plot_is_an_svg_that_names_its_points_and_axes(count: int) -> None:
    points, timings = points_and_timings(count)
    words = texts(draw_recall(points, timings, points[0].point, "shop <1> & more"))
    assert "shop <1> & more" in words
    assert words.count("1/16") == 2
    assert words.count("default") == 2
    assert "recall@10" in words
    assert any(word.startswith("queries/s, 4 threads") for word in words)
    assert any(word.startswith("median latency of one query, ms") for word in words)
    labels = [word for word in words if re.fullmatch(r"\d+/16", word)]
    assert min(count, 5) * 2 <= len(labels) <= 22


def test_the_nodes_of_a_graph_are_named() -> None:
    points, timings = points_and_timings(3, ef_search=64)
    assert "4/16/ef 64" in texts(draw_recall(points, timings, points[0].point))


def test_the_same_numbers_are_the_same_bytes_on_white_and_without_a_date() -> None:
    points, timings = points_and_timings(5)
    svg = draw_recall(points, timings, points[2].point, "shop")
    assert svg == draw_recall(points, timings, points[2].point, "shop")
    assert b"dc:date" not in svg
    assert not re.search(rb"20\d\d-\d\d-\d\d", svg)
    assert svg.count(b"fill: #ffffff") >= 3


def test_nothing_timed_is_an_empty_plot() -> None:
    assert "recall@10" in texts(draw_recall([], Timings(0, []), OperatingPoint(0, 0)))


def test_the_settings_of_others_are_left_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    points, timings = points_and_timings(2)
    draw_recall(points, timings, points[0].point)
    assert dict(matplotlib.rcParams) == before


def test_a_missing_matplotlib_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[pipeline\]'"):
        draw_recall([], Timings(0, []), OperatingPoint(0, 0))
