"""An index that is in use: closed when it was replaced and its last search has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

from index_builder.catalog_index import CatalogIndex


class Serving:
    """Counts the searches that are under way on an index.

    Args:
        index: to search.
        drained: called once, when it was retired and no search is under way.
    """

    def __init__(self, index: CatalogIndex, drained: Callable[[], None]) -> None:
        self.index = index
        self._drained = drained
        self._searches = 0
        self._retired = False
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Begins a search; False where the index was retired, and another one is to be asked."""
        with self._lock:
            if not self._retired:
                self._searches += 1
            return not self._retired

    def leave(self) -> None:
        """Ends a search."""
        with self._lock:
            self._searches -= 1
            over = self.over
        if over:
            self._drained()

    def retire(self) -> None:
        """From now on no search begins."""
        with self._lock:
            self._retired = True
            over = self.over
        if over:
            self._drained()

    @property
    def over(self) -> bool:
        """Whether no search is under way and none will be."""
        return self._retired and not self._searches
