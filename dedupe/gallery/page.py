"""The frame of every page of a gallery, and tables in it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

from dedupe.gallery.data_files import shortened
from dedupe.gallery.pictures import BITMAP_HEADER

_FOLDER = Path(__file__).parent

#: What pages load beside themselves.
ASSETS = ("gallery.css", "common.js", "groups.js", "review.js")
#: File name and name of every page, in their order.
PAGES = {
    "index.html": "Summary",
    "uncertain.html": "Review",
    "groups.html": "Groups",
    "leakage.html": "Leakage",
    "placeholders.html": "Placeholders",
    "conflicts.html": "Label conflicts",
    "unreadable.html": "Unreadable",
}


def page(
    name: str, heading: str, main: str, scripts: Sequence[str] = (), data: Mapping[str, object] | None = None
) -> str:
    """A whole page.

    Args:
        name: one of `PAGES`.
        heading: text.
        main: HTML.
        scripts: of `ASSETS`.
        data: facts for the scripts, attributes of the body.
    """
    tags = [f'<script defer src="assets/{script}" data-bitmap="{BITMAP_HEADER}"></script>' for script in scripts]
    links = [
        f'<a href="{each}"{" aria-current=" + chr(34) + "page" + chr(34) if each == name else ""}>{text(title)}</a>'
        for each, title in PAGES.items()
    ]
    parts = {
        "title": text(f"{PAGES[name]}: duplicates"),
        "heading": text(heading),
        "nav": "\n".join(links),
        "scripts": "\n".join(tags),
        "data": "".join(f' data-{key}="{text(value)}"' for key, value in (data or {}).items()),
        "main": main,
    }
    return Template(asset("page.html")).substitute(parts)


def asset(name: str) -> str:
    """A file of this folder."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """HTML that shows a value as it is."""
    return html.escape(str(value))


def foreign(value: object) -> str:
    """HTML that shows a text of unknown origin, shortened, in its own direction; nothing of None."""
    return "" if value is None else f"<bdi>{text(shortened(value))}</bdi>"


def number(value: object) -> str:
    """A count with its thousands apart; a dash where there is none."""
    return f"{value:,}" if isinstance(value, int) else "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells; columns whose heading begins with # are numbers."""
    kinds = [' class="number"' if name.startswith("#") else "" for name in header]
    head = "".join(
        f'<th scope="col"{kind}>{text(name.lstrip("#"))}</th>' for kind, name in zip(kinds, header, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>\n"
        for cells in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'
