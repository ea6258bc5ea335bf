"""What a dedupe job is asked for, and what follows from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from catalog.errors import UsageError

TIERS = ("bytes", "pixels", "phash", "thumbnail", "embedding")
BYTES, PIXELS, PHASH, THUMBNAIL, EMBEDDING = range(len(TIERS))


@dataclass(frozen=True)
class Settings:
    """What counts as a duplicate, and what is done about it.

    Attributes:
        tiers: those that look for pairs, a subset of `TIERS`.
        threshold: the combined score of thumbnail and embedding from which two pictures are duplicates.
        thumbnail_threshold: the cosine of whitened thumbnails from which they are, whatever the embedding says.
        phash_radius: bits of 64 in which two perceptual hashes may differ.
        phash_256_radius: and of 256, where both pictures have that one.
        verify: `pixels` to read every image again and compare whole pictures, where the stored hashes of pixels may be
            of reduced ones, or missing; None to read none.
        turned: whether pictures are also compared mirrored and turned by quarters.
        keeper: the policy by which one item of a group is kept, see `dedupe.keeper`.
        group_column: metadata column whose values are compared with each other: a split, a vendor.
        label_column: metadata column in which the members of a group should agree.
        across: only items of different datasets, or different values of `group_column`, are duplicates.
        protected: item ids that are never dropped.
        protected_values: metadata columns, and values that protect an item.
        ignored: pairs of item ids that were looked at and are not the same.
        placeholder_products: a group that spans more products than this is a placeholder.
        placeholder_groups: and one that spans more values of `group_column`; None for no such bound.
        splits: shares by name of a split, see `dedupe.splits`, for an assignment without leaks.
        probes: lists that a picture is compared in.
        normalization: share of a picture's likeness to a background set that is taken off its scores; 0 for none.
    """

    tiers: tuple[str, ...] = TIERS
    threshold: float = 0.77
    thumbnail_threshold: float = 0.92
    phash_radius: int = 4
    phash_256_radius: int = 24
    verify: str | None = None
    turned: bool = False
    keeper: str = "resolution,bytes"
    group_column: str | None = None
    label_column: str | None = None
    across: bool = False
    protected: tuple[str, ...] = ()
    protected_values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    placeholder_products: int = 10
    placeholder_groups: int | None = None
    splits: str | None = None
    probes: int = 3
    normalization: float = 0.0

    def __post_init__(self) -> None:
        unknown = [tier for tier in self.tiers if tier not in TIERS]
        if unknown or not self.tiers:
            raise UsageError(f"--tiers {','.join(self.tiers)}: expected some of {', '.join(TIERS)}")
        for flag, value in (("--threshold", self.threshold), ("--thumbnail-threshold", self.thumbnail_threshold)):
            if not 0 < value <= 1:
                raise UsageError(f"{flag} {value:g} is no score of a duplicate; expected above 0, and 1 at most")
        for flag, bits, most in (
            ("--phash-radius", self.phash_radius, 8),
            ("--phash-256-radius", self.phash_256_radius, 64),
        ):
            if not 0 <= bits <= most:
                raise UsageError(f"{flag} {bits}: expected 0 to {most} bits")

    def finds(self, tier: int) -> bool:
        """Whether a tier, one of the numbers above, looks for pairs."""
        return TIERS[tier] in self.tiers

    @property
    def exact(self) -> bool:
        """Whether hashes of bytes or pixels are compared."""
        return self.finds(BYTES) or self.finds(PIXELS)

    @property
    def compares(self) -> bool:
        """Whether vectors or thumbnails are compared."""
        return self.finds(THUMBNAIL) or self.finds(EMBEDDING)

    def raised(
        self, threshold: float | None = None, thumbnail_threshold: float | None = None, radius: int | None = None
    ) -> Settings:
        """The same with stricter bounds. Raises UsageError for a looser one: what it would add was not looked for."""
        if threshold is not None:
            _check_not_below("--threshold", threshold, self.threshold)
        if thumbnail_threshold is not None:
            _check_not_below("--thumbnail-threshold", thumbnail_threshold, self.thumbnail_threshold)
        if radius is not None and radius > self.phash_radius:
            raise UsageError(
                f"--phash-radius {radius} is above the {self.phash_radius} that the report was made with; pairs beyond "
                "it were not looked for: run catalog-indexer dedupe with it"
            )
        return replace(
            self,
            threshold=self.threshold if threshold is None else threshold,
            thumbnail_threshold=self.thumbnail_threshold if thumbnail_threshold is None else thumbnail_threshold,
            phash_radius=self.phash_radius if radius is None else radius,
        )

    def to_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Settings:
        return cls(**{name: _frozen(each) for name, each in value.items()})


def _check_not_below(flag: str, value: float, made_with: float) -> None:
    if value < made_with:
        raise UsageError(
            f"{flag} {value:g} is below the {made_with:g} that the report was made with; pairs below it were not "
            "looked for: run catalog-indexer dedupe with it"
        )


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Found:
    """Candidate pairs and what each tier measured of them, NaN or -1 where a tier did not find the pair.

    Attributes:
        exact: int8 [n]: `BYTES` or `PIXELS`, or -1.
        hamming, hamming_256: int16 [n]: bits that differ, or -1.
        thumbnail, combined: float32 [n]: scores, or NaN.
    """

    exact: np.ndarray
    hamming: np.ndarray
    hamming_256: np.ndarray
    thumbnail: np.ndarray
    combined: np.ndarray = field(repr=False)


def accept(found: Found, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """For each pair the cheapest tier that takes it for a duplicate, int8 [n] (-1: none), and its score by that tier,
    float32 [n]."""
    count = len(found.exact)
    tier, score = np.full(count, -1, np.int8), np.zeros(count, np.float32)
    rules = (
        (EMBEDDING, found.combined >= np.float32(settings.threshold), found.combined),
        (THUMBNAIL, found.thumbnail >= np.float32(settings.thumbnail_threshold), found.thumbnail),
        (PHASH, _within(found, settings), 1 - found.hamming.astype(np.float32) / 64),
        (PIXELS, found.exact == PIXELS, np.ones(count, np.float32)),
        (BYTES, found.exact == BYTES, np.ones(count, np.float32)),
    )
    for number, takes, value in rules:
        if settings.finds(number):
            tier[takes] = number
            score[takes] = value[takes]
    return tier, score


def _within(found: Found, settings: Settings) -> np.ndarray:
    near = (found.hamming >= 0) & (found.hamming <= settings.phash_radius)
    return near & (found.hamming_256 <= settings.phash_256_radius)
