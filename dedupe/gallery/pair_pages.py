"""The least certain pairs as pages of data, for a person to judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from catalog import storage
from dedupe.gallery.contents import PAGE_BYTES, PAIRS_A_PAGE
from dedupe.gallery.data_files import DataFiles, Put, shortened
from dedupe.gallery.pictures import Pictures

_SCORES = ("score", "hamming", "thumbnail_score", "embedding_score")


class PairPages:
    """Pages `pairs-<n>`, each a list of pairs.

    Attributes:
        pairs: so far.
        pages: that are stored.
    """

    def __init__(self, put: Put, pictures: Pictures) -> None:
        self._pictures = pictures
        self._page = DataFiles("pairs", put, PAGE_BYTES, PAIRS_A_PAGE)
        self.pairs = 0

    @property
    def pages(self) -> int:
        return self._page.files

    def write(self, pairs: Iterable[Mapping[str, Any]]) -> None:
        """Writes all pairs, in their order.

        Args:
            pairs: see `GalleryContents.uncertain`.
        """
        for pair in pairs:
            group = pair.get("group_id")
            self._page.add(
                {
                    "sides": [self._side(pair, ""), self._side(pair, "other_")],
                    "tier": pair.get("tier"),
                    "group": None if group is None else str(group),
                    **{name: pair.get(name) for name in _SCORES},
                }
            )
            self.pairs += 1
        self._page.close()

    def _side(self, pair: Mapping[str, Any], which: str) -> dict[str, Any]:
        uri = pair.get(f"{which}image_uri")
        shown = self._pictures.shown(uri, pair.get(f"{which}thumbnail"))
        # The id goes into the exported list, so it is whole.
        return {
            "id": str(pair[f"{which}item_id"]),
            "uri": None if uri is None else shortened(storage.redact(uri)),
            **shown,
        }
