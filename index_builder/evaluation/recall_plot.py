"""`recall.svg`: recall against speed, point by point, for people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from catalog.extras import require
from index_builder.evaluation.operating_points import MeasuredPoint
from index_builder.evaluation.timings import Timing, Timings
from index_builder.searching.searcher import OperatingPoint

_INK, _LINE, _MARK = "#1f2933", "#3b6fb6", "#c2410c"
# Text stays text; names of parts of the drawing are hashed with a salt of our own and not with a random one.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "catalog-indexer", "font.family": "sans-serif"}
_DEPTH = "10"
# More labels in a panel cover each other.
_MOST_LABELS = 10


def draw_recall(points: Sequence[MeasuredPoint], timings: Timings, default: OperatingPoint, title: str = "") -> bytes:
    """An SVG with recall@10 against queries per second, and against the latency of a single query.

    Args:
        points: measured, those without a timing are left out; the same points, timings and title give the same bytes.
        timings: of the Pareto-optimal points.
        default: the point that is marked.
        title: above both panels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    recall = {each.point: each for each in points}
    timed = [(recall[each.point], each) for each in timings.points if each.point in recall]
    figure_module, backend = require("matplotlib.figure"), require("matplotlib.backends.backend_svg")
    with require("matplotlib").rc_context(_SETTINGS):
        figure = figure_module.Figure(figsize=(11, 4.8), facecolor="white", layout="constrained")
        backend.FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, timed, default, "queries_per_second", f"queries/s, {timings.threads} threads, batch")
        _panel(right, timed, default, "p50_ms", "median latency of one query, ms, 1 thread")
        left.set_ylabel(f"recall@{_DEPTH}", color=_INK)
        figure.suptitle(title, color=_INK, fontsize=12)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "catalog-indexer"})
    return buffer.getvalue()


def _panel(
    axes: Any,
    timed: Sequence[tuple[MeasuredPoint, Timing]],
    default: OperatingPoint,
    speed: str,
    label: str,
) -> None:
    """One curve over a logarithmic axis of speed, with the intervals of its points."""
    falls, ticker = speed == "queries_per_second", require("matplotlib.ticker")
    xs = [max(1e-4, getattr(timing, speed)) for _, timing in timed]
    ys = [each.recall[_DEPTH] for each, _ in timed]
    below = [max(0.0, each.recall[_DEPTH] - each.interval[_DEPTH][0]) for each, _ in timed]
    above = [max(0.0, each.interval[_DEPTH][1] - each.recall[_DEPTH]) for each, _ in timed]
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.08)
    axes.xaxis.set_major_locator(
        ticker.LogLocator(subs=(1, 2, 5) if max(xs, default=1) < 1_000 * min(xs, default=1) else (1,))
    )
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    if len(set(xs)) == 1:
        axes.set_xlim(xs[0] / 3, xs[0] * 3)
    axes.errorbar(xs, ys, yerr=[below, above], fmt="-o", color=_LINE, markersize=4, linewidth=1.2, elinewidth=0.8)
    for number, (each, _) in enumerate(timed):
        chosen = each.point == default
        if chosen:
            axes.plot(xs[number], ys[number], "D", color=_MARK, markersize=8, label="default")
            axes.legend(loc="lower left" if falls else "lower right", frameon=False)
        if chosen or number % (1 + (len(timed) - 1) // _MOST_LABELS) == 0:
            # On the outer side of the curve, which falls with the queries per second and rises with the latency.
            place = {"xytext": (6, 5 if falls else -12), "textcoords": "offset points", "fontsize": 8}
            axes.annotate(_name(each.point), (xs[number], ys[number]), color=_MARK if chosen else _INK, **place)
    axes.set_xlabel(f"{label}  (labels: nprobe/k_factor)", color=_INK)
    axes.grid(True, which="major", color="#d9dee4", linewidth=0.6)
    axes.tick_params(colors=_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name(point: OperatingPoint) -> str:
    graph = f"/ef {point.ef_search}" if point.ef_search else ""
    return f"{point.nprobe}/{point.rerank}{graph}"
