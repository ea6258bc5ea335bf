"""A published version, opened: what a consumer searches."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog import canonical_json, storage
from catalog.errors import IntegrityError, UsageError
from catalog.manifest import Manifest, ManifestFile, artifact_root, manifest_url, version_folder
from index_builder.filters import Filters
from index_builder.golden import check_golden, read_golden
from index_builder.items import Items
from index_builder.matches import Match, matches_of, merge_matches
from index_builder.measures import prepare, similarity
from index_builder.publishing.verify import find_version, index_files, read_published, verify_files
from index_builder.row_set import RowFilter
from index_builder.searcher import OperatingPoint, Searcher

__all__ = ["CatalogIndex", "Match", "MeasuredPoint", "OperatingPoint", "merge_matches"]

# An operating point, and its recall by depth: "1", "10".
MeasuredPoint = tuple[OperatingPoint, dict[str, float]]


class CatalogIndex:
    """A version in memory, or mapped into it. Open one with `CatalogIndex.open`; many threads may search it at once."""

    def __init__(
        self,
        manifest: Manifest,
        searcher: Searcher,
        items: Items,
        points: Sequence[MeasuredPoint],
        scratch: tempfile.TemporaryDirectory[str],
        golden: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.default = OperatingPoint.from_json(manifest.search)
        self.points = list(points)
        self._scratch = scratch  # Downloaded files live as long as the index; a version on a local disk has none.
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
    ) -> CatalogIndex:
        """Opens the version that a channel points to, every byte verified first.

        Args:
            artifacts: URL of the artifact store.
            name: of the artifact.
            channel: to follow.
            version: to open instead.
            parts: numbers of the index files to open, from 0, where several servers share the parts of a large index;
                their answers are put together by `merge_matches`. All of them if None.

        Raises:
            UsageError: there is no such artifact, channel, version or part.
            IntegrityError: a file is not what was published.
        """
        root = artifact_root(artifacts, name)
        return cls.of(root, read_published(root, find_version(root, channel, version)), parts)

    @classmethod
    def of(cls, root: str, manifest: Manifest, parts: Sequence[int] | None = None) -> CatalogIndex:
        """Opens the version that a manifest describes, every byte verified first.

        Args:
            root: URL of ARTIFACTS/<name>.
            manifest: of the version; it need not be stored yet.
            parts: see `open`.

        Raises:
            UsageError: there is no such part.
            IntegrityError: a file is not what the manifest says.
        """
        verify_files(root, manifest, parts)
        folder = version_folder(root, manifest.version)
        scratch = tempfile.TemporaryDirectory(prefix="catalog-indexer-")

        def local(entries: Sequence[ManifestFile]) -> list[Path]:
            return [storage.local_copy(storage.join(folder, entry.path), scratch.name) for entry in entries]

        if not manifest.file("index") or not manifest.file("items"):
            raise IntegrityError(f"{manifest_url(root, manifest.version)} names no index or no items")
        vectors = local(manifest.files_of("vectors"))
        searcher = Searcher(local(index_files(manifest, parts)), vectors, manifest.metric)
        items = Items(local(manifest.files_of("items")))
        measured = [point for path in local(manifest.files_of("evaluation")) for point in _points(path)]
        golden = local(manifest.files_of("golden"))
        return cls(manifest, searcher, items, measured, scratch, golden[0] if golden else None)

    def check(self) -> list[str]:
        """Asks the golden queries that were stored with the version again.

        Returns:
            A sentence for each that is answered differently; none when all is well, or where there are none.

        Raises:
            UsageError: only some parts of the version are open.
        """
        if self._golden is None:
            return []
        if self._searcher.rows < self.manifest.vectors:
            raise UsageError(f"only some parts of version {self.manifest.version} are open; the golden queries ask all")
        return check_golden(self._searcher, read_golden(self._golden))

    def golden_queries(self) -> int:
        """How many golden queries are stored with the version."""
        return len(read_golden(self._golden).vectors) if self._golden is not None else 0

    def close(self) -> None:
        """Deletes what was downloaded. Searches that are under way end as they would have."""
        self._scratch.cleanup()

    def point_for(self, recall_target: float) -> OperatingPoint:
        """The cheapest measured operating point whose recall@10 reaches a target.

        Raises:
            UsageError: none does; the sentence names the best there is.
        """
        for point, recall in self.points:
            if recall["10"] >= recall_target:
                return point
        version = self.manifest.version
        if not self.points:
            raise UsageError(f"version {version} has no measured operating points")
        point, recall = max(self.points, key=lambda each: each[1]["10"])
        raise UsageError(
            f"version {version} reaches no recall@10 of {recall_target:g}; its best is {recall['10']:g}, at "
            f"nprobe {point.nprobe}"
        )

    def search(
        self,
        vectors: np.ndarray,
        k: int = 10,
        point: OperatingPoint | None = None,
        allow: Collection[str] | None = None,
        block: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
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

        Returns:
            list[Match] for [d], and for [n, d] one such list a vector.

        Raises:
            UsageError: a vector has another dimension or a value that is no number, or a filter names no column, or no
                item at all, of this version.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self._searcher.dimension:
            raise UsageError(
                f"the vector has shape {list(vectors.shape)}, the index wants [{self._searcher.dimension}]"
            )
        single = vectors.ndim == 1
        queries = vectors[None] if single else vectors
        self._check(queries, single)
        answers = self._answer(queries, k, point, self._filters.rows(allow, block, where))
        matches = [matches_of(found, self._items, self.manifest.metric) for found in answers]
        return matches[0] if single else matches

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

    def _check(self, queries: np.ndarray, single: bool) -> None:
        for wrong, what in (
            (~np.isfinite(queries).all(axis=1), "has a value that is not a finite number"),
            (~queries.any(axis=1), "is all zeros, which has no direction and no cosine"),
        ):
            if wrong.any() and (self.manifest.metric == "cosine" or "zeros" not in what):
                which = "the vector" if single else f"vector {int(wrong.argmax())}"
                raise UsageError(f"{which} {what}")

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
            raise UsageError(
                f"version {self.manifest.version} keeps no vectors (it was built with --rerank none); search by "
                "image or by vector"
            )
        return vector

    def _row_of(self, item_id: str) -> int:
        row = self._items.row_of(item_id)
        if row is None:
            raise UsageError(f"version {self.manifest.version} has no item {item_id!r}")
        return row

    def items(self) -> Items:
        """Row number to item, and item id to row number."""
        return self._items


def _points(path: Path) -> list[MeasuredPoint]:
    """What an evaluation measured, cheapest first."""
    return canonical_json.parse(
        path.read_bytes(),
        str(path),
        lambda value: [(OperatingPoint.from_json(each), dict(each["recall"])) for each in value["points"]],
    )
