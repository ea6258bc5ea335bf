"""The score of two descriptors, the same on every machine.

A descriptor is int8: a thumbnail part and an embedding part, each as large as int8 allows. Products of int8 summed over
at most 1,040 dimensions stay below 2**24, so a float32 product of matrices is exact whatever the library and however
many threads; what follows is done number by number, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: So many dimensions can a part have, for its products to be exact in float32.
MOST_DIMENSIONS = (1 << 24) // (127 * 127)


@dataclass(frozen=True)
class Scoring:
    """How descriptors are compared.

    Attributes:
        thumbnail_dimensions: of a descriptor, those that come first; 0 where nobody has a thumbnail.
        embedding_dimensions: the others; 0 where nobody has a vector.
        weight: of the thumbnail's cosine in the combination, 0 to 1; 1 and 0 where there is one part only.
    """

    thumbnail_dimensions: int
    embedding_dimensions: int
    weight: float

    @property
    def dimensions(self) -> int:
        """D, of a descriptor."""
        return self.thumbnail_dimensions + self.embedding_dimensions

    def parts(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The thumbnail part and the embedding part of int8 [..., D]."""
        return descriptors[..., : self.thumbnail_dimensions], descriptors[..., self.thumbnail_dimensions :]

    def scores(self, query: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each of int8 [q, D] with each of int8 [b, D]: float32 [q, b] of the thumbnails, and of the combination."""
        thumbnail, embedding = (
            cosines(products(one, other), squares(one)[:, None], squares(other)[None])
            for one, other in zip(self.parts(query), self.parts(base), strict=True)
        )
        return thumbnail.astype(np.float32), self.combined(thumbnail, embedding)

    def pair_scores(
        self, one: np.ndarray, one_squares: np.ndarray, other: np.ndarray, other_squares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of each of int8 [n, D] with that of int8 [n, D] at its place, and with their `squares`: float32 [n] of the
        thumbnails, and of the combination; what `scores` says of them."""
        thumbnail, embedding = (
            cosines(row_products(left, right), one_squares[part], other_squares[part])
            for part, (left, right) in enumerate(zip(self.parts(one), self.parts(other), strict=True))
        )
        return thumbnail.astype(np.float32), self.combined(thumbnail, embedding)

    def squares(self, descriptors: np.ndarray) -> np.ndarray:
        """float32 [2, n], whole numbers: the squared lengths of both parts of int8 [n, D]."""
        return np.stack([squares(part) for part in self.parts(descriptors)])

    def combined(self, thumbnail: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """float32 of float64 cosines."""
        return (self.weight * thumbnail + (1 - self.weight) * embedding).astype(np.float32)

    def joint(self, descriptors: np.ndarray) -> np.ndarray:
        """int8 [n, D]: one vector a descriptor, whose inner products are in proportion to the combination."""
        weighted = []
        for part, weight in zip(self.parts(descriptors), (self.weight, 1 - self.weight), strict=True):
            length = np.sqrt(squares(part).astype(np.float64))[:, None]
            weighted.append(part * (np.sqrt(weight) / np.where(length > 0, length, 1)))
        return to_int8(np.concatenate(weighted, axis=1))


def to_int8(rows: np.ndarray) -> np.ndarray:
    """int8 [n, d]: each row of float [n, d] scaled so that its largest number is 127; zeros stay zeros."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    return np.rint(rows * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)


def products(query: np.ndarray, base: np.ndarray) -> np.ndarray:
    """float32 [q, b], whole numbers: the inner products of int8 [q, d] and int8 [b, d]."""
    return query.astype(np.float32) @ base.astype(np.float32).T


def row_products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32 [n], whole numbers: the inner products of the rows of int8 [n, d] with those of int8 [n, d]."""
    return np.einsum("nd,nd->n", one.astype(np.float32), other.astype(np.float32))


def squares(rows: np.ndarray) -> np.ndarray:
    """float32 [n], whole numbers: the squared lengths of int8 [n, d]."""
    return row_products(rows, rows)


def cosines(product: np.ndarray, square: np.ndarray, other_square: np.ndarray) -> np.ndarray:
    """float64: of products and squared lengths; 0 for what has no length."""
    length = np.sqrt(square.astype(np.float64) * other_square.astype(np.float64))
    return np.divide(product, length, out=np.zeros(np.broadcast(product, length).shape), where=length > 0)
