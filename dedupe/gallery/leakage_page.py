"""The page of leakage: which values of a column share pictures with which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dedupe.gallery.page import foreign, number, page, table

# 40 x 40 cells are 100 kB of a page; more values than that nobody reads as a matrix.
_VALUES = 40
_WORST = 25


def leakage_page(leakage: Mapping[str, Any] | None) -> str:
    """The page.

    Args:
        leakage: see `GalleryContents.summary`; None where no column was compared.
    """
    if not leakage or not leakage.get("values"):
        return page("leakage.html", "Leakage", "<p>The report compares no data sets, splits or vendors.</p>")
    values, items, leaking, pairs = (leakage.get(name) or [] for name in ("values", "items", "leaking", "pairs"))
    every = range(len(values))
    crossing = sorted(
        ((leaking[row][column], row, column) for row in every for column in every if row != column),
        key=lambda cell: (-cell[0], cell[1], cell[2]),
    )
    shown = _shown(values, crossing)
    parts = [
        "<p>An item leaks where another value of the column has a duplicate of it. A row's items are counted by the "
        'columns that they leak to; <a href="groups.html#cross=1">the groups that cross a border</a>.</p>',
        "<h2>The most</h2>",
        _worst(values, items, pairs, [cell for cell in crossing[:_WORST] if cell[0]]),
        "<h2>All against all</h2>",
        f"<p>The {len(shown)} values that leak most, of {number(len(values))}.</p>" if len(shown) < len(values) else "",
        _matrix(values, items, leaking, shown),
    ]
    return page("leakage.html", f"Leakage by {leakage.get('column')}", "\n".join(parts))


def _shown(values: Sequence[Any], crossing: Sequence[tuple[int, int, int]]) -> list[int]:
    if len(values) <= _VALUES:
        return list(range(len(values)))
    chosen: dict[int, None] = {}
    for _, row, column in crossing:
        for value in (row, column):
            if len(chosen) < _VALUES:
                chosen[value] = None
    return sorted(chosen)


def _worst(
    values: Sequence[Any], items: Sequence[int], pairs: Sequence[Sequence[int]], cells: Sequence[tuple[int, int, int]]
) -> str:
    if not cells:
        return '<p class="good">Nothing crosses.</p>'
    rows = [
        (
            f"{foreign(values[row])} in {foreign(values[column])}",
            number(count),
            _share(count, items[row]),
            number(pairs[row][column]) if pairs else "–",
        )
        for count, row, column in cells
    ]
    return table(("items of … that are also in …", "#items", "#share", "#pairs"), rows)


def _matrix(values: Sequence[Any], items: Sequence[int], leaking: Sequence[Sequence[int]], shown: Sequence[int]) -> str:
    head = "".join(f'<th scope="col" class="number">{foreign(values[column])}</th>' for column in shown)
    lines = []
    for row in shown:
        cells = "".join(
            f'<td class="number{" leak" if row != column and leaking[row][column] else ""}">'
            f"{number(leaking[row][column])}</td>"
            for column in shown
        )
        lines.append(
            f'<tr><th scope="row">{foreign(values[row])}</th><td class="number">{number(items[row])}</td>{cells}</tr>\n'
        )
    return (
        '<div class="wide" role="region" aria-label="Leakage matrix" tabindex="0"><table class="matrix">'
        f'<tr><th></th><th scope="col" class="number">items</th>{head}</tr>\n{"".join(lines)}</table></div>'
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
