"""A few pictures against a store: are they there already? Everything is read once and nothing is indexed.

The rules and the measure are those of a report, so that a picture is a duplicate here if the report, made again with
it, would link it with the same item. What is held is a block of rows, and of each picture its best matches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.embedding_file import vectors_of
from dedupe.check_queries import COLUMNS, Pictures, ThumbnailSieve, best_scores, near_hashes, same_pairs
from dedupe.items import read_items
from dedupe.job import Layout, Stretch
from dedupe.measure import Measure
from dedupe.settings import EMBEDDING, TIERS, Found, Settings, accept

_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Match:
    """An item that a picture is a duplicate of, and what tells so; None where a tier did not look or did not find it.

    Of a picture of the same batch, `item_id` is the name that it was given, and `in_batch` is true."""

    item_id: str
    dataset: str | None
    tier: str
    score: float
    hamming: int | None
    hamming_256: int | None
    thumbnail_score: float | None
    embedding_score: float | None
    placeholder: str | None
    in_batch: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is said of a picture.

    Attributes:
        matches: what it is a duplicate of, best first, as many as are kept.
        found: how many there are in all.
        empty: whether it shows hardly anything, so that its looks are not compared.
    """

    matches: tuple[Match, ...]
    found: int
    empty: bool

    @property
    def name(self) -> str:
        """`placeholder` where it is empty, or its best match is one; else `duplicate` or `new`."""
        if self.empty or (self.matches and self.matches[0].placeholder is not None):
            return "placeholder"
        return "duplicate" if self.matches else "new"


class Checker:
    """Pictures that are asked about.

    Args:
        settings: of the report.
        measure: of the report; None where it compared no scores.
        table: `COLUMNS` of the pictures.
        vectors: float32 [n, d] of them.
        placeholders: ids of placeholders by their thumbnail.
        most: matches that are kept of each picture.
    """

    def __init__(
        self,
        settings: Settings,
        measure: Measure | None,
        table: pa.Table,
        vectors: np.ndarray,
        placeholders: Mapping[bytes, str],
        most: int,
    ) -> None:
        self._settings, self._most, self._placeholders = settings, most, placeholders
        self._table, self._vectors = table, vectors
        self._queries = Pictures.of(table)
        self._measure = measure if settings.compares else None
        self._kept: list[list[tuple[tuple[int, float, str], Match]]] = [[] for _ in range(len(table))]
        self._found = np.zeros(len(table), np.int64)
        if self._measure is not None:
            self._described = self._measure.describe(
                None if self._measure.thumbnail is None else self._queries.thumbnails, _given(vectors, self._measure)
            )
            self._offsets = self._measure.offsets(self._described[:, 0])
            self._sieve = (
                ThumbnailSieve(self._measure, self._queries, self._least(self._measure))
                if self._measure.thumbnail is not None
                else None
            )

    def ask_store(self, layout: Layout, told: Callable[[int], None] = lambda rows: None) -> None:
        """Compares with every item of the layout's snapshots; `told` hears how many were read so far."""
        done = 0
        for stretch in layout.stretches:
            row = stretch.row
            for partition in range(stretch.first, stretch.last):
                piece = Stretch(stretch.number, stretch.source, partition, partition + 1, row, 0)
                for table in read_items(layout, piece, COLUMNS):
                    self._ask(table, layout.job.sources[stretch.source].name or None, _Vectors(layout, piece))
                    row += len(table)
                    done += len(table)
                    told(done)

    def ask_batch(self, names: list[str]) -> None:
        """Compares each picture with those before it."""
        rows = pa.array(np.arange(len(names)))
        base = self._table.append_column("row", rows).append_column("item_id", pa.array(names, pa.string()))
        self._ask(base, None, lambda wanted: self._vectors[wanted], in_batch=True)

    def verdicts(self) -> list[Verdict]:
        """What was found, in the order of the pictures."""
        return [
            Verdict(tuple(match for _, match in kept), found, not telling)
            for kept, found, telling in zip(
                self._kept, self._found.tolist(), self._queries.telling.tolist(), strict=True
            )
        ]

    def _least(self, measure: Measure) -> float:
        """The cosine of thumbnails below which no pair is a duplicate, however alike the vectors."""
        settings, weight = self._settings, measure.scoring.weight
        combined = (settings.threshold - measure.beta - (1 - weight)) / weight if settings.finds(EMBEDDING) else 1.0
        return min(combined, settings.thumbnail_threshold)

    def _ask(
        self,
        table: pa.Table,
        dataset: str | None,
        vectors: Callable[[np.ndarray], np.ndarray],
        in_batch: bool = False,
    ) -> None:
        base = Pictures.of(table)
        query, row, exact = same_pairs(self._queries, base, self._settings)
        parts = [_Part.of(query, row, exact=exact)]
        query, row, hamming, apart = near_hashes(self._queries, base, self._settings)
        parts.append(_Part.of(query, row, hamming=hamming, hamming_256=apart))
        if self._measure is not None:
            parts += self._scored(self._measure, base, table["row"].to_numpy(), vectors)
        whole = _Part.together(parts)
        if in_batch:
            whole = whole.take(whole.row < whole.query)
        tier, score = accept(whole.found, self._settings)
        chosen = np.flatnonzero(tier >= 0)
        whole, tier, score = whole.take(chosen), tier[chosen], score[chosen]
        self._found += np.bincount(whole.query, minlength=len(self._queries))
        self._keep(whole, tier, score, table, dataset, in_batch)

    def _scored(
        self, measure: Measure, base: Pictures, rows: np.ndarray, vectors: Callable[[np.ndarray], np.ndarray]
    ) -> list[_Part]:
        """Pairs that may be over a threshold, with their scores."""
        if self._sieve is None:
            size = max(1, _AT_ONCE // max(1, len(self._queries)))
            everyone = np.arange(len(self._queries))
            pieces = [np.arange(start, min(start + size, len(base))) for start in range(0, len(base), size)]
            pairs = [(np.repeat(everyone, len(piece)), np.tile(piece, len(everyone))) for piece in pieces]
        else:
            query, row = self._sieve.pairs(base)
            pairs = [(query[at : at + _AT_ONCE], row[at : at + _AT_ONCE]) for at in range(0, len(query), _AT_ONCE)]
        found = []
        for query, row in pairs:
            if self._sieve is not None:
                # The thumbnails alone, exactly: their vectors are read only of what is left.
                places, at = np.unique(row, return_inverse=True)
                blank = np.zeros((len(places), self._vectors.shape[1]), np.float32)
                seen = measure.describe(base.thumbnails[places], _given(blank, measure))
                near = best_scores(measure, self._described, seen, query, at)[0] >= self._least(measure)
                query, row = query[near], row[near]
            if not len(query):
                continue
            places, at = np.unique(row, return_inverse=True)
            given = vectors(rows[places]) if measure.embedding is not None else None
            described = measure.describe(None if measure.thumbnail is None else base.thumbnails[places], given)
            thumbnail, combined = best_scores(measure, self._described, described, query, at)
            offsets = (self._offsets[query].astype(np.float64) + measure.offsets(described[:, 0])[at]) / 2
            found.append(_Part.of(query, row, thumbnail=thumbnail, combined=(combined - offsets).astype(np.float32)))
        return found

    def _keep(
        self, part: _Part, tier: np.ndarray, score: np.ndarray, table: pa.Table, dataset: str | None, in_batch: bool
    ) -> None:
        order = np.lexsort((part.row, -score, tier, part.query))
        begins = np.flatnonzero(np.diff(part.query[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        best = order[rank < self._most]
        ids = table["item_id"].take(pa.array(part.row[best])).to_pylist()
        pictures = table["thumbnail"].take(pa.array(part.row[best])).to_pylist()
        for at, item_id, thumbnail in zip(best.tolist(), ids, pictures, strict=True):
            match = Match(
                item_id=item_id,
                dataset=dataset,
                tier=TIERS[tier[at]],
                score=round(float(score[at]), 6),
                hamming=_bits(part.found.hamming[at]),
                hamming_256=_bits(part.found.hamming_256[at]),
                thumbnail_score=_score(part.found.thumbnail[at]),
                embedding_score=_score(part.found.combined[at]),
                placeholder=self._placeholders.get(thumbnail),
                in_batch=in_batch,
            )
            kept = self._kept[int(part.query[at])]
            kept.append(((int(tier[at]), -float(score[at]), item_id), match))
        for number in np.unique(part.query).tolist():
            self._kept[number] = sorted(self._kept[number], key=lambda each: each[0])[: self._most]


def _given(vectors: np.ndarray, measure: Measure) -> np.ndarray | None:
    return None if measure.embedding is None else vectors


def _score(value: np.floating) -> float | None:
    """A score that was measured."""
    return None if np.isnan(value) else round(float(value), 6)


def _bits(value: np.integer) -> int | None:
    """Bits that were counted."""
    return None if value < 0 else int(value)


class _Vectors:
    """The vectors of some rows of a partition, read when they are asked for."""

    def __init__(self, layout: Layout, piece: Stretch) -> None:
        self._layout, self._piece = layout, piece

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, d] of ascending rows."""
        wanted, found = pa.array(rows), []
        dimension = self._layout.snapshots[self._piece.source].encoder.dimension
        for table in read_items(self._layout, self._piece, ["embedding"]):
            chosen = table.filter(pc.is_in(table["row"], value_set=wanted))
            found.append(vectors_of(chosen["embedding"], dimension).astype(np.float32))
        return np.concatenate(found)


@dataclass(frozen=True)
class _Part:
    """Pairs of a query and a row, and what was measured of them."""

    query: np.ndarray
    row: np.ndarray
    found: Found

    @classmethod
    def of(cls, query: np.ndarray, row: np.ndarray, **measured: np.ndarray) -> _Part:
        count = len(query)
        missing = {"exact": np.int8(-1), "hamming": np.int16(-1), "hamming_256": np.int16(-1)}
        missing |= {"thumbnail": np.float32(np.nan), "combined": np.float32(np.nan)}
        columns = {name: measured.get(name, np.full(count, value)) for name, value in missing.items()}
        return cls(query, row, Found(**columns))

    def take(self, chosen: np.ndarray) -> _Part:
        found = {name: value[chosen] for name, value in vars(self.found).items()}
        return _Part(self.query[chosen], self.row[chosen], Found(**found))

    @classmethod
    def together(cls, parts: list[_Part]) -> _Part:
        """Each pair once, with all that any part says of it."""
        query, row = (np.concatenate([getattr(each, name) for each in parts]) for name in ("query", "row"))
        columns = {name: np.concatenate([getattr(each.found, name) for each in parts]) for name in vars(parts[0].found)}
        if not len(query):
            return cls(query, row, Found(**columns))
        order = np.lexsort((row, query))
        query, row = query[order], row[order]
        begins = np.flatnonzero((np.diff(query, prepend=-1) != 0) | (np.diff(row, prepend=-1) != 0))
        exact = np.where(columns["exact"] < 0, np.int8(len(TIERS)), columns["exact"])[order]
        least = np.minimum.reduceat(exact, begins)
        best = {
            name: np.fmax.reduceat(columns[name][order], begins)
            for name in ("hamming", "hamming_256", "thumbnail", "combined")
        }
        return cls(query[begins], row[begins], Found(exact=np.where(least == len(TIERS), np.int8(-1), least), **best))
