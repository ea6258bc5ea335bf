"""The measure: what of a picture is compared, and how.

A picture's thumbnail, its views (`dedupe.views`) and its embedding are whitened (`dedupe.whitening`) and kept as int8;
`dedupe.scoring` compares them. One measure is fitted a report and stored in it as `measure.npz`, so that scores of
later runs are of the same measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog import storage
from dedupe.array_file import pack, unpack
from dedupe.scoring import MOST_DIMENSIONS, Scoring, to_int8
from dedupe.views import BYTES, DEFAULT_VIEWS, FULL, UNIT, view_matrix, view_pictures
from dedupe.whitening import Prior, Whitening, embedding_prior, rounded, thumbnail_prior

__all__ = ["FILE", "Measure", "Prior", "Scoring", "Whitening", "embedding_prior", "thumbnail_prior"]

#: The name of a stored measure in a report.
FILE = "measure.npz"
_KIND, _SCHEMA_VERSION = "measure", 1
#: Dimensions that are kept: more of a thumbnail are noise, more of an embedding gain nothing.
THUMBNAIL_DIMENSIONS = 96
EMBEDDING_DIMENSIONS = 256
#: Of the thumbnail's cosine in the combination.
WEIGHT = 0.7
# A thumbnail, or a view of one, whose every channel stays within so many levels says nothing of its picture.
_FLAT_LEVELS = 8
_BLOCK = 4096
_BACKGROUND_NEAREST = 3


@dataclass(frozen=True)
class Measure:
    """See the module.

    Attributes:
        thumbnail: whitening of the 192 bytes of a thumbnail; None where there are none (vectors made elsewhere).
        embedding: whitening of the vectors; None to leave them out.
        weight: of the thumbnail's cosine where there are both.
        views: names, of which the first is `full`; only that one where there are no thumbnails.
        background: int8 [m, D] of pictures that are nobody's duplicate, for normalised scores; None for plain ones.
        beta: how much of the likeness to the background is taken off.
    """

    thumbnail: Whitening | None
    embedding: Whitening | None
    weight: float = WEIGHT
    views: tuple[str, ...] = DEFAULT_VIEWS
    background: np.ndarray | None = None
    beta: float = 0.0

    def __post_init__(self) -> None:
        if self.thumbnail is None and self.embedding is None:
            raise ValueError("a measure needs thumbnails or embeddings")
        if not self.views or self.views[0] != FULL:
            raise ValueError(f"the first view is {FULL}")
        for view in self.views:
            view_matrix(view)
        if max(self.scoring.thumbnail_dimensions, self.scoring.embedding_dimensions) > MOST_DIMENSIONS:
            raise ValueError(f"a part has at most {MOST_DIMENSIONS} dimensions")
        if self.thumbnail is None:
            object.__setattr__(self, "views", (FULL,))

    @classmethod
    def fit(
        cls,
        thumbnails: np.ndarray | None,
        embeddings: np.ndarray | None,
        views: Sequence[str] = DEFAULT_VIEWS,
        weight: float = WEIGHT,
    ) -> Measure:
        """Of a sample of the pictures; a few thousand are enough, and ten do.

        Args:
            thumbnails: uint8 [n, 192] or None.
            embeddings: float [n, d], or None. Rows that are not finite, or zero, do not count.
            views: as in the attributes.
            weight: likewise.
        """
        of_thumbnails = of_embeddings = None
        if thumbnails is not None:
            telling = thumbnails[~_is_flat(thumbnails, 1)]
            of_thumbnails = Whitening.fit(telling, THUMBNAIL_DIMENSIONS, thumbnail_prior())
        if embeddings is not None:
            telling = embeddings[_is_direction(embeddings)]
            k = min(EMBEDDING_DIMENSIONS, embeddings.shape[1])
            of_embeddings = Whitening.fit(telling, k, embedding_prior(telling))
        return cls(of_thumbnails, of_embeddings, weight, tuple(views))

    @property
    def scoring(self) -> Scoring:
        """How its descriptors are compared."""
        first = 0 if self.thumbnail is None else self.thumbnail.matrix.shape[1]
        second = 0 if self.embedding is None else self.embedding.matrix.shape[1]
        weight = 0.0 if self.thumbnail is None else 1.0 if self.embedding is None else self.weight
        return Scoring(first, second, weight)

    def describe(self, thumbnails: np.ndarray | None, embeddings: np.ndarray | None) -> np.ndarray:
        """The descriptors of pictures, each of the picture's own numbers alone: it does not matter how rows are cut.

        Args:
            thumbnails: uint8 [n, 192]; None where the measure has no whitening for them.
            embeddings: float [n, d]; likewise.

        Returns:
            int8 [n, V, D]: of each view the thumbnail part and the embedding part, the latter the same in all views.
            A part is zeros, which are like nothing, where the thumbnail or its view is flat, or the embedding zero or
            not finite.
        """
        given = thumbnails if self.thumbnail is not None else embeddings
        if given is None or (self.embedding is not None and embeddings is None):
            raise ValueError("the measure was fitted with thumbnails or embeddings that are not given")
        scoring = self.scoring
        described = np.zeros((len(given), len(self.views), scoring.dimensions), np.int8)
        for start in range(0, len(given), _BLOCK):
            block = slice(start, start + _BLOCK)
            first, second = scoring.parts(described[block])
            if self.thumbnail is not None and thumbnails is not None:
                for place, view in enumerate(self.views):
                    first[:, place] = _thumbnail_part(self.thumbnail, view_pictures(thumbnails[block], view))
            if self.embedding is not None and embeddings is not None:
                second[:] = _embedding_part(self.embedding, embeddings[block])[:, None]
        return described

    def scores(self, query: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each of int8 [q, D] with each of int8 [b, D]: float32 [q, b] of the thumbnails, and of the combination."""
        return self.scoring.scores(query, base)

    def offsets(self, descriptors: np.ndarray) -> np.ndarray:
        """float32 [n]: `beta` times the mean of the three best combinations of int8 [n, D] with the background; of a
        pair, the mean of both is taken off its combination. Zeros without a background."""
        offsets = np.zeros(len(descriptors), np.float32)
        if self.background is None or len(self.background) == 0:
            return offsets
        for start in range(0, len(descriptors), _BLOCK):
            scores = self.scoring.scores(descriptors[start : start + _BLOCK], self.background)[1]
            nearest = np.sort(scores, axis=1)[:, -_BACKGROUND_NEAREST:].astype(np.float64)
            offsets[start : start + _BLOCK] = self.beta * nearest.sum(axis=1) / nearest.shape[1]
        return offsets

    def to_bytes(self) -> bytes:
        """The bytes of `measure.npz`."""
        arrays = {} if self.background is None else {"background": self.background}
        for name, whitening in (("thumbnail", self.thumbnail), ("embedding", self.embedding)):
            if whitening is not None:
                arrays |= {f"{name}_mean": whitening.mean, f"{name}_matrix": whitening.matrix}
        settings = {"weight": self.weight, "views": list(self.views), "beta": self.beta}
        return pack(_KIND, _SCHEMA_VERSION, settings, arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Measure:
        """What `to_bytes` gave. Raises IntegrityError naming `where` when it is something else."""
        settings, arrays = unpack(data, where, _KIND, _SCHEMA_VERSION)
        parts = {
            name: Whitening(arrays[f"{name}_mean"], arrays[f"{name}_matrix"]) if f"{name}_mean" in arrays else None
            for name in ("thumbnail", "embedding")
        }
        views, background = tuple(settings["views"]), arrays.get("background")
        return cls(parts["thumbnail"], parts["embedding"], settings["weight"], views, background, settings["beta"])

    def save(self, url: str) -> None:
        """Writes it to a file."""
        storage.write(url, self.to_bytes())

    @classmethod
    def load(cls, url: str) -> Measure:
        """What `save` wrote. Raises IntegrityError naming the file when it is something else."""
        return cls.from_bytes(storage.read_bytes(url), url)


def _thumbnail_part(whitening: Whitening, pictures: np.ndarray) -> np.ndarray:
    """int8 [n, k] of float32 [n, 192] in 4096ths of a level."""
    part = to_int8(whitening.project(pictures / np.float32(UNIT)))
    part[_is_flat(pictures, UNIT)] = 0
    return part


def _embedding_part(whitening: Whitening, embeddings: np.ndarray) -> np.ndarray:
    """int8 [n, k] of float [n, d]."""
    telling = _is_direction(embeddings)
    part = to_int8(whitening.project(rounded(np.where(telling[:, None], embeddings, 0), axis=1)))
    part[~telling] = 0
    return part


def _is_flat(pictures: np.ndarray, unit: int) -> np.ndarray:
    """bool [n] of [n, 192] in parts of a level."""
    largest = smallest = pictures
    width = BYTES
    while width > 3:  # Halves, so that a channel meets itself: many times faster than over the pixels of a picture.
        width //= 2
        largest = np.maximum(largest[:, :width], largest[:, width:])
        smallest = np.minimum(smallest[:, :width], smallest[:, width:])
    return (largest.astype(np.float32) - smallest < _FLAT_LEVELS * unit).all(axis=1)


def _is_direction(embeddings: np.ndarray) -> np.ndarray:
    """bool [n] of float [n, d]: finite, and not zero."""
    return np.isfinite(embeddings).all(axis=1) & (embeddings != 0).any(axis=1)
