"""Pages of one list each: placeholders, label conflicts, rows without an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from catalog import storage
from dedupe.gallery.contents import LIST_BYTES, LIST_ROWS
from dedupe.gallery.page import foreign, number, page, table, text
from dedupe.gallery.pictures import BITMAP_HEADER, Pictures

_LABELS = 12


def placeholders_page(rows: Iterable[Mapping[str, Any]], pictures: Pictures, summary: Mapping[str, Any]) -> str:
    """The page of pictures that stand for no picture; they make no two items the same."""

    def card(row: Mapping[str, Any]) -> str:
        uri = row.get("image_uri")
        counts = [
            f"{number(row[name])} {told}"
            for name, told in (("items", "items"), ("products", "products"), ("group_values", "group values"))
            if row.get(name) is not None
        ]
        return (
            f'<div class="group">{_picture(pictures.shown(uri, row.get("thumbnail")), row.get("item_id"))}'
            f"<p><b>{', '.join(counts)}</b></p><p>{foreign(row.get('why'))}</p>"
            f'<p class="soft">such as {foreign(row.get("item_id"))}</p></div>\n'
        )

    cards, more = _bounded(rows, card)
    told = (
        f"<p>{number(summary.get('placeholders'))} pictures under {number(summary.get('placeholder_items'))} items. A "
        "placeholder says that there is no picture, so its items are no duplicates of each other.</p>"
    )
    main = told + f'<div class="cards">{cards}</div>' + more if cards else told
    return page("placeholders.html", "Placeholders", main)


def conflicts_page(rows: Iterable[Mapping[str, Any]]) -> str:
    """The page of groups whose members have different labels."""

    def line(row: Mapping[str, Any]) -> str:
        labels = list(row.get("labels") or ())
        shown = ", ".join(foreign(label) for label in labels[:_LABELS])
        if len(labels) > _LABELS:
            shown += f" and {number(len(labels) - _LABELS)} more"
        query = text(urlencode({"group": row["group_id"]}))
        group = f'<a href="groups.html#{query}">group {foreign(row["group_id"])}</a>'
        return f"<li>{group}, {number(row.get('items'))} items: {shown}</li>\n"

    lines, more = _bounded(rows, line)
    told = "<p>The same picture under different labels: one of them is wrong, or the labels overlap.</p>"
    return page("conflicts.html", "Label conflicts", f"{told}<ul>{lines}</ul>{more}" if lines else "<p>None.</p>")


def unreadable_page(rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """The page of rows whose image could not be looked at."""

    def line(row: Mapping[str, Any]) -> str:
        uri = row.get("image_uri")
        parts = [foreign(row.get("item_id")), text(row.get("reason") or ""), foreign(_detail(row))]
        parts.append(foreign(None if uri is None else storage.redact(uri)))
        return f"<li>{', '.join(part for part in parts if part)}</li>\n"

    lines, more = _bounded(rows, line)
    parts = [f"<p>{number(summary.get('unreadable'))} rows of the catalog have no image that could be compared.</p>"]
    rejected = summary.get("rejected")
    if isinstance(rejected, Mapping):
        parts.append(table(("reason", "#rows"), [(text(reason), number(count)) for reason, count in rejected.items()]))
    if lines:
        parts.append(f"<h2>Rows</h2><ul>{lines}</ul>{more}")
    return page("unreadable.html", "Unreadable", "\n".join(parts))


def _detail(row: Mapping[str, Any]) -> str | None:
    return None if row.get("detail") is None else storage.redact_text(str(row["detail"]))


def _bounded(rows: Iterable[Mapping[str, Any]], made: Callable[[Mapping[str, Any]], str]) -> tuple[str, str]:
    """The HTML of the first rows, and what to say of the others."""
    parts: list[str] = []
    size = 0
    for row in rows:
        if len(parts) == LIST_ROWS or size > LIST_BYTES:
            return "".join(parts), f'<p class="soft more">These are the first {number(len(parts))}.</p>'
        parts.append(made(row))
        size += len(parts[-1])
    return "".join(parts), ""


def _picture(shown: Mapping[str, Any], item_id: object) -> str:
    if "picture" in shown:
        source = f"pictures/{shown['picture']}"
    elif "pixels" in shown:
        source = f"data:image/bmp;base64,{BITMAP_HEADER}{shown['pixels']}"
    else:
        return '<span class="picture none">no picture</span>'
    return (
        f'<img class="picture" loading="lazy" width="152" height="152" alt="Image of {text(item_id)}" '
        f'src="{text(source)}">'
    )
