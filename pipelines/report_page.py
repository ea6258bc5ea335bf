"""The page of a report: one file of HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

_PAGE = Path(__file__).with_name("run_report.html")
_STAGES = ("count", "sample", "train", "encode", "merge", "assemble", "evaluate", "gates")
_TILES = ("input", "embedded", "reused", "rejected", "removed", "indexed")


def report_page(report: Mapping[str, Any], plot: bytes | None) -> str:
    """The page.

    Args:
        report: the JSON of `pipelines.run_report`.
        plot: SVG of the version's recall, None where there is none.
    """
    name = str(report["config"].get("name", ""))
    parts = {
        "title": _text(f"{name}: {report['outcome']}, {report['started_at']}"),
        "name": _text(name),
        "outcome": _text(report["outcome"]),
        "when": f"{_text(report['started_at'])}, {_seconds(report['seconds'])}, on {_text(report['host'])}",
        "run": _text(report["run"]),
        "exit_code": _text(report["exit_code"]),
        "error": _error(report),
        "counts": _counts(report["counts"]),
        "version": _version(report),
        "gates": _gates(report["index"]),
        "recall": _recall(report, plot),
        "timings": _timings(report),
        "config": f"<p>{_text(report['config_file'])}</p>\n<pre>{_text(_pretty(report['config']))}</pre>",
    }
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(parts)


def _error(report: Mapping[str, Any]) -> str:
    if report["error"] is None:
        return ""
    return f'<p class="error">Stopped at {_text(report["stage"])}: {_text(report["error"])}</p>'


def _counts(counts: Mapping[str, Any]) -> str:
    if counts["input"] is None:
        return "<p>The catalog was not embedded to its end.</p>"
    tiles = "".join(f'<div class="tile"><b>{_number(counts[name])}</b>{name}</div>' for name in _TILES)
    reasons = [(reason, _number(count)) for reason, count in counts["rejects_by_reason"].items()]
    if counts["stale"]:
        reasons.append(("reused, for they could not be read for now", _number(counts["stale"])))
    return f'<div class="tiles">{tiles}</div>' + (_table(("rejected as", "#rows"), reasons) if reasons else "")


def _version(report: Mapping[str, Any]) -> str:
    index = report["index"]
    if index is None:
        return "<p>No version was published.</p>"
    where = f"on channel {index['channel']}" if index["promoted"] else "on channel candidate, refused by a gate"
    if index["promoted"]:
        where += f", in place of {report['replaced']}" if report["replaced"] else ", the first there"
    return _table(
        ("", ""),
        [
            ("version", f"{index['version']}, {where}"),
            ("index", f"{index['index']}, {index['metric']}"),
            ("vectors", f"{index['vectors']:,} of {index['dimension']:,} dimensions"),
            ("index file", f"{index['bytes']:,} bytes, {index['bytes_per_vector']:g} a vector"),
            ("snapshot", str(report["embed"]["snapshot"]) if report["embed"] else ""),
            *_collected(report["collected"]),
            *_dedupe(report["dedupe"]),
        ],
    )


def _collected(collected: Mapping[str, int] | None) -> list[tuple[str, str]]:
    if collected is None:
        return []
    gone = f"{collected['deleted']:,} deleted ({collected['bytes']:,} bytes)"
    return [("collected", f"{gone}, {collected['waiting']:,} waiting, {collected['marked']:,} marked now")]


def _dedupe(dedupe: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if dedupe is None:
        return []
    found = f"{dedupe['dropped']:,} of {dedupe['items']:,} in {dedupe['groups']:,} groups, {dedupe['new']:,} items new"
    return [("duplicates", f"{found}; {dedupe['report']}/index.html")]


def _gates(index: Mapping[str, Any] | None) -> str:
    if index is None:
        return "<p>No gate was asked.</p>"
    if not index["gates"]:
        return "<p>No gate stands before this channel.</p>"
    rows = []
    for gate in index["gates"]:
        verdict = "passed" if gate["passed"] else "refused" if gate["forced"] is None else f"forced: {gate['forced']}"
        rows.append((gate["gate"], verdict, _value(gate["value"]), _value(gate["threshold"]), gate["says"]))
    return _table(("gate", "verdict", "#value", "#threshold", "found"), rows)


def _recall(report: Mapping[str, Any], plot: bytes | None) -> str:
    index = report["index"]
    if index is None:
        return "<p>Nothing was evaluated.</p>"
    told = ", ".join(f"recall@{depth} {value:.4f}" for depth, value in index["recall"].items())
    parts = [f"<p>{_text(told)}, at the default point</p>"]
    if plot is not None:
        picture = base64.b64encode(plot).decode()
        parts.append(f'<img alt="recall@10 against speed" src="data:image/svg+xml;base64,{picture}">')
    if report["pareto"]:
        rows = []
        for point in report["pareto"]:
            chosen = all(point[name] == value for name, value in report["default"].items())
            low, high = point["interval"]["10"]
            settings = (str(point[name]) for name in ("nprobe", "rerank", "ef_search"))
            found = f"{point['recall']['10']:.4f}", f"{low:.4f} to {high:.4f}"
            rows.append((*settings, _number(point["cost"]), *found, "default" if chosen else ""))
        parts.append(_table(("#nprobe", "#rerank", "#ef_search", "#cost", "#recall@10", "95 %", ""), rows))
    return "\n".join(parts)


def _timings(report: Mapping[str, Any]) -> str:
    stages = [(name, seconds, "this run") for name, seconds in report["seconds_by_stage"].items()]
    if report["index"] is not None:
        built = report["index"]["seconds_by_stage"]
        stages += [(name, built[name], "build") for name in sorted(built, key=_place)]
    longest = max((seconds for _, seconds, _ in stages), default=0) or 1
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="soft">{of}</td><td class="number">{_seconds(seconds)}</td>'
        f'<td class="track"><div class="bar" style="width: {100 * seconds / longest:.1f}%"></div></td></tr>'
        for name, seconds, of in stages
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _place(stage: str) -> int:
    """Of a stage in a build."""
    return _STAGES.index(stage) if stage in _STAGES else len(_STAGES)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; columns whose heading begins with # are numbers."""
    kinds = [' class="number"' if name.startswith("#") else "" for name in header]

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(f"<{tag}{kind}>{_text(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    head = f"<tr>{row('th', [name.lstrip('#') for name in header])}</tr>" if any(header) else ""
    body = "".join(f"<tr>{_marked(row('td', cells))}</tr>" for cells in rows)
    return f'<div class="wide"><table>{head}{body}</table></div>'


def _marked(row: str) -> str:
    """A verdict in its colour."""
    for verdict in ("passed", "refused"):
        row = row.replace(f"<td>{verdict}</td>", f'<td class="{verdict}">{verdict}</td>')
    return row


def _text(value: object) -> str:
    return html.escape(str(value))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
