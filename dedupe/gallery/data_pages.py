"""The two pages that show data files: groups with their filters, and pairs to review."""

from __future__ import annotations

from dedupe.gallery.contents import TIERS
from dedupe.gallery.group_pages import GroupPages
from dedupe.gallery.page import number, page
from dedupe.gallery.pair_pages import PairPages

_PAGER = '<nav class="pager" aria-label="{which}"></nav>'
_SHOWN = (
    '<p id="status" role="status" tabindex="-1"></p>\n'
    + _PAGER.format(which="Turn the page")
    + '\n<div id="cards"></div>\n'
    + _PAGER.format(which="Turn the page, below")
)
_NO_SCRIPTS = "<noscript><p>This page needs scripts; {instead}.</p></noscript>"


def groups_page(written: GroupPages) -> str:
    """The page of groups and its filters, which ask all groups."""
    boxes = "".join(f'<label><input type="checkbox" name="tier" value="{tier}"> {tier}</label>' for tier in TIERS)
    main = (
        f'<form id="filters" class="filters" aria-label="Filters"><fieldset><legend>Found by</legend>{boxes}</fieldset>'
        '<fieldset><legend>Lowest score</legend><input type="number" step="any" name="min" aria-label="from"> to '
        '<input type="number" step="any" name="max" aria-label="to"></fieldset>'
        '<fieldset><legend>Items</legend><input type="number" min="1" name="from" aria-label="from"> to '
        '<input type="number" min="1" name="to" aria-label="to"></fieldset>'
        '<label>Item id has <input type="text" name="text" autocomplete="off"></label>'
        '<label>Group <input type="text" name="group" autocomplete="off" size="12"></label>'
        '<label><input type="checkbox" name="cross"> Crosses a split</label>'
        '<button>Filter</button><button type="reset">All groups</button></form>\n'
        '<p class="soft">Keys: j and k, or the arrows to the sides, go from group to group; n and p turn the page; '
        f"/ goes to the text.</p>\n{_NO_SCRIPTS.format(instead='<code>groups.parquet</code> has the groups')}\n{_SHOWN}"
    )
    data = {
        "groups": written.groups,
        "pages": written.pages,
        "search-files": written.search_files,
        "tiers": " ".join(TIERS),
    }
    return page("groups.html", f"{number(written.groups)} groups", main, ("common.js", "groups.js"), data)


def review_page(written: PairPages, report: str) -> str:
    """The page of uncertain pairs.

    Args:
        report: what tells this report's verdicts from those of others in the same browser.
    """
    main = (
        "<p>Pairs near the threshold. What is told to be different can be given to the next run as "
        "<code>--ignore reviewed-pairs.csv</code>.</p>\n"
        '<div class="tiles"><button type="button" id="export" disabled>Export reviewed pairs</button>'
        '<button type="button" id="clear" disabled>Forget all verdicts</button></div>\n'
        '<p class="soft">Keys: j and k, or the arrows to the sides, go from pair to pair; d for different, s for the '
        "same; n and p turn the page.</p>\n"
        f"{_NO_SCRIPTS.format(instead='<code>pairs.parquet</code> has the pairs')}\n{_SHOWN}"
    )
    data = {"pairs": written.pairs, "pages": written.pages, "report": report}
    return page("uncertain.html", "Review", main, ("common.js", "review.js"), data)
