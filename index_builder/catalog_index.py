"""A published version, opened: what a consumer searches."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.channel import Pointer
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest, artifact_root, manifest_url
from index_builder.consuming.cache import Cache
from index_builder.consuming.local_files import LocalFiles, local_files
from index_builder.consuming.opening import Opening, check_encoder
from index_builder.evaluation.golden import check_golden, read_golden
from index_builder.measures import prepare, similarity
from index_builder.publishing.verify import find_version, index_files, read_published
from index_builder.searching.filters import Filters
from index_builder.searching.items import Items
from index_builder.searching.matches import Match, matches_of, merge_matches
from index_builder.searching.measured_points import MeasuredPoint, cheapest, read_points
from index_builder.searching.query_vectors import check_count, check_queries
from index_builder.searching.row_set import RowFilter
from index_builder.searching.searcher import OperatingPoint, Searcher

if TYPE_CHECKING:
    from index_builder.consuming.live_index import LiveIndex

__all__ = ["CatalogIndex", "Match", "MeasuredPoint", "OperatingPoint", "merge_matches"]


class CatalogIndex:
    """A version in memory, or mapped into it. Open one with `CatalogIndex.open`; many threads may search it at once.

    FAISS hangs in a forked child: a server that forks its workers opens its index in each worker, after the fork.

    Attributes:
        manifest: of the version.
        default: the operating point to search at.
        points: measured ones, cheapest first.
        opening: how it was opened, for whoever opens the next version likewise; None if it was not by `open`.
        load_seconds: from the look at the manifest to the first answer; 0.0 if it was not opened by `open`.
    """

    def __init__(
        self,
        manifest: Manifest,
        searcher: Searcher,
        items: Items,
        points: Sequence[MeasuredPoint],
        files: LocalFiles,
        golden: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.default = OperatingPoint.from_json(manifest.search)
        self.points = list(points)
        self.opening: Opening | None = None
        self.load_seconds = 0.0
        self._files = files
        self._searcher = searcher
        self._items = items
        self._filters = Filters(items)
        self._golden = golden

    @classmethod
    def open(
        cls,
        artifacts: str,
        name: str,
        channel: str = "prod",
        version: str | None = None,
        parts: Sequence[int] | None = None,
        cache: str | Path | None = None,
        encoder: str | None = None,
    ) -> CatalogIndex:
        """Opens the version that a channel points to: every byte verified, the golden queries answered as they were.

        Args:
            artifacts: URL of the artifact store.
            name: of the artifact.
            channel: to follow.
            version: to open instead.
            parts: numbers of the index files to open, from 0, where several servers share the parts of a large index;
                their answers are put together by `merge_matches`. All of them if None. The golden queries ask all
                parts: with some of them open they are asked, and not compared.
            cache: folder for what is downloaded, shared by the processes of a machine; $CATALOG_INDEXER_CACHE if None,
                else ~/.cache/catalog-indexer. Artifacts on a local disk are opened where they lie.
            encoder: fingerprint of the encoder that queries will come from.

        Raises:
            UsageError: there is no such artifact, channel, version or part.
            EncoderMismatchError: the version's vectors are another encoder's.
            IntegrityError: a file is not what was published, or the version answers otherwise than it did.
            NoSpaceError: the version does not fit into the cache.
        """
        root = artifact_root(artifacts, name)
        opening = Opening(root, None if version else channel, parts, Cache(cache), encoder)
        return cls.opened(opening, find_version(root, channel, version))

    @classmethod
    def opened(cls, opening: Opening, pointer: Pointer) -> CatalogIndex:
        """`open` of a version that was found already."""
        started = time.perf_counter()
        manifest = read_published(opening.root, pointer)
        if opening.encoder is not None:
            check_encoder(manifest, opening.encoder)
        index = cls.of(opening.root, manifest, opening.parts, opening.cache)
        try:
            index.warm_up()
        except BaseException:
            index.close()
            raise
        index.opening = opening.at(pointer)
        index.load_seconds = time.perf_counter() - started
        return index

    @classmethod
    def of(
        cls, root: str, manifest: Manifest, parts: Sequence[int] | None = None, cache: Cache | None = None
    ) -> CatalogIndex:
        """Opens the version that a manifest describes, every byte verified first.

        Args:
            root: URL of ARTIFACTS/<name>.
            manifest: of the version; it need not be stored yet.
            parts: see `open`.
            cache: for what is downloaded; if None it is read from the store, and gone after `close`.

        Raises:
            UsageError: there is no such part.
            IntegrityError: a file is not what the manifest says.
            NoSpaceError: the version does not fit into the cache.
        """
        if not manifest.file("index") or not manifest.file("items"):
            raise IntegrityError(f"{manifest_url(root, manifest.version)} names no index or no items")
        files = local_files(root, manifest, parts, cache)
        try:
            paths, vectors = files.of(index_files(manifest, parts)), files.of(manifest.files_of("vectors"))
            searcher = Searcher(paths, vectors, manifest.metric, manifest.serving.get("load_flags"))
            items = Items(files.of(manifest.files_of("items")))
            measured = [point for path in files.of(manifest.files_of("evaluation")) for point in read_points(path)]
            golden = files.of(manifest.files_of("golden"))
            return cls(manifest, searcher, items, measured, files, golden[0] if golden else None)
        except BaseException:
            files.release()
            raise

    def warm_up(self) -> None:
        """Asks the golden queries, which reads the pages that searches read.

        Raises:
            IntegrityError: one is answered differently. With only some parts open, none can be compared.
        """
        if self._golden is None:
            return
        if not self._whole:
            golden = read_golden(self._golden)
            self._searcher.search(golden.vectors, golden.rows.shape[1], golden.point)
        elif differences := self.check():
            raise IntegrityError(
                f"version {self.manifest.version} answers otherwise than when it was evaluated: {differences[0]}"
            )

    @property
    def _whole(self) -> bool:
        return self._searcher.rows >= self.manifest.vectors

    def watch(self, every: float = 300.0, jitter: float = 0.2) -> LiveIndex:
        """Goes on to the versions that the channel points to later. From now on the index belongs to what is returned.

        Args:
            every: seconds from one look at the channel to the next.
            jitter: the share of them by which a pause is longer or shorter, so that servers do not ask all at once.

        Raises:
            UsageError: it was not opened by a channel, or `every` or `jitter` is none; the index stays as it is.
        """
        from index_builder.consuming.live_index import LiveIndex

        return LiveIndex(self, every, jitter)

    def check(self) -> list[str]:
        """Asks the golden queries that were stored with the version again.

        Returns:
            A sentence for each that is answered differently; none when all is well, or where there are none.

        Raises:
            UsageError: only some parts of the version are open.
        """
        if self._golden is None:
            return []
        if not self._whole:
            raise UsageError(f"only some parts of version {self.manifest.version} are open; the golden queries ask all")
        return check_golden(self._searcher, read_golden(self._golden))

    def golden_queries(self) -> int:
        """How many golden queries are stored with the version."""
        return len(read_golden(self._golden).vectors) if self._golden is not None else 0

    def close(self) -> None:
        """Lets the cache delete what was downloaded. Searches that are under way end as they would have."""
        self._files.release()

    def __enter__(self) -> CatalogIndex:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def point_for(self, recall_target: float) -> OperatingPoint:
        """The cheapest measured operating point whose recall@10 reaches a target.

        Raises:
            UsageError: none does; the sentence names the best there is.
        """
        return cheapest(self.points, recall_target, self.manifest.version)

    def search(
        self,
        vectors: np.ndarray,
        k: int = 10,
        point: OperatingPoint | None = None,
        allow: Collection[str] | None = None,
        block: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
        encoder: str | None = None,
    ) -> Any:
        """The nearest items of one vector, or of many in one batch.

        Where k items pass the filters, there are k results: a search goes on to more lists, and where few pass and the
        version keeps its vectors, those are compared one by one.

        Args:
            vectors: [d] or [n, d], from an encoder with the manifest's fingerprint.
            k: how many.
            point: how hard to look; the version's default point if None.
            allow: item ids, of which alone results are chosen; those that the version does not have are passed over.
            block: item ids that are no results.
            where: for a column, `product_id` or one of the metadata, a value or a collection of values: a result has
                one of them in each of the columns.
            encoder: fingerprint of what made the vectors.

        Returns:
            list[Match] for [d], and for [n, d] one such list a vector.

        Raises:
            UsageError: k is no number of results, a vector has another dimension or a value that is no number, or a
                filter names no column, or no item at all, of this version.
            EncoderMismatchError: the version's vectors are another encoder's.
        """
        check_count(k)
        if encoder is not None:
            check_encoder(self.manifest, encoder)
        queries = check_queries(vectors, self._searcher.dimension, self.manifest.metric)
        answers = self._answer(queries, k, point, self._filters.rows(allow, block, where))
        matches = [matches_of(found, self._items, self.manifest.metric) for found in answers]
        return matches[0] if np.ndim(vectors) == 1 else matches

    def search_item(
        self,
        item_id: str,
        k: int = 10,
        point: OperatingPoint | None = None,
        allow: Collection[str] | None = None,
        block: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Match]:
        """The nearest items of an item, itself first, also where others are its exact copies, unless it does not pass
        the filters, which are those of `search`.

        Raises:
            UsageError: no such item, or the version keeps codes only; or as in `search`.
        """
        check_count(k)
        row = self._row_of(item_id)
        vector = self.vector_of(item_id)
        chosen = self._filters.rows(allow, block, where)
        found = self._answer(vector[None], k, point, chosen)[0]
        if chosen is None or chosen.has(row):
            asked = prepare(vector[None], self.manifest.metric)[0]
            itself = float(similarity(asked, asked[None], self.manifest.metric)[0])
            found = [(row, itself), *(pair for pair in found if pair[0] != row)][:k]
        return matches_of(found, self._items, self.manifest.metric)

    def _answer(
        self, queries: np.ndarray, k: int, point: OperatingPoint | None, chosen: RowFilter | None
    ) -> list[list[tuple[int, float]]]:
        rows, values = self._searcher.search(queries, k, point or self.default, chosen)
        pairs = zip(rows.tolist(), values.tolist(), strict=True)
        return [[pair for pair in zip(*each, strict=True) if pair[0] >= 0] for each in pairs]

    def item(self, item_id: str) -> dict[str, Any]:
        """item_id, product_id, image_uri and metadata (a dict) of an item. Raises UsageError where there is none."""
        return self._items.item(self._row_of(item_id))

    def vector_of(self, item_id: str) -> np.ndarray:
        """float32 [d] of an item.

        Raises:
            UsageError: no such item, or the version keeps codes only.
        """
        vector = self._searcher.vector(self._row_of(item_id))
        if vector is None:
            why = f"version {self.manifest.version} keeps no vectors (it was built with --rerank none)"
            raise UsageError(f"{why}; search by image or by vector")
        return vector

    def _row_of(self, item_id: str) -> int:
        row = self._items.row_of(item_id)
        if row is None:
            raise UsageError(f"version {self.manifest.version} has no item {item_id!r}")
        return row

    def items(self) -> Items:
        """Row number to item, and item id to row number."""
        return self._items
