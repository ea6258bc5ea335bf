"""The gallery of a report, page by page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from dedupe.gallery.contents import GalleryContents
from dedupe.gallery.data_pages import groups_page, review_page
from dedupe.gallery.folder import GalleryFolder
from dedupe.gallery.group_pages import GroupPages
from dedupe.gallery.leakage_page import leakage_page
from dedupe.gallery.list_pages import conflicts_page, placeholders_page, unreadable_page
from dedupe.gallery.page import ASSETS, PAGES, asset
from dedupe.gallery.pair_pages import PairPages
from dedupe.gallery.pictures import Pictures
from dedupe.gallery.summary_page import summary_page


def write_gallery(report_url: str, contents: GalleryContents, say: Callable[[str], None] = lambda line: None) -> int:
    """Writes the gallery below a report's folder: `index.html` and the pages beside it, `assets/`, `data/` and
    `pictures/`.

    What is held does not grow with the groups, but for the names of pictures. `index.html` is stored when all else is.

    Args:
        report_url: local folder or object store.

    Returns:
        Pages that a reader can turn to.

    Raises:
        UsageError: nothing can be written there.
        OSError: a file could not be stored.
    """
    summary = contents.summary
    with GalleryFolder(report_url) as folder:
        for name in ASSETS:
            folder.put(f"assets/{name}", asset(name))
        pictures = Pictures(contents.picture, folder.put)
        pairs = PairPages(folder.put, pictures)
        pairs.write(contents.uncertain)
        folder.put("uncertain.html", review_page(pairs, _identity(contents)))
        folder.put("placeholders.html", placeholders_page(contents.placeholders, pictures, summary))
        folder.put("conflicts.html", conflicts_page(contents.conflicts))
        folder.put("unreadable.html", unreadable_page(contents.unreadable, summary))
        folder.put("leakage.html", leakage_page(summary.get("leakage")))
        groups = GroupPages(folder.put, pictures)
        groups.write(contents.groups())
        folder.put("groups.html", groups_page(groups))
        folder.settle()
        folder.put("index.html", summary_page(summary, pairs.pairs, pictures.stored))
    pages = len(PAGES) - 2 + max(1, groups.pages) + max(1, pairs.pages)
    say(f"gallery: {groups.groups:,} groups on {groups.pages:,} pages, {pairs.pairs:,} pairs to review")
    if pictures.refused:
        say(f"gallery: pictures left out, too large or neither WebP nor JPEG: {pictures.refused:,}")
    return pages


def _identity(contents: GalleryContents) -> str:
    told = json.dumps(contents.summary, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
