"""A report of duplicates against labels: how many of its pairs are right, and how many pairs it found.

Two images of one photo are a duplicate. Nobody labelled the photos as they were taken: pairs of two untouched photos
are therefore left out of precision, and counted apart; an edit of one and a version of the other count as wrong, even
where the two photos are the same shot.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.labelled_photos import COPIES, PHOTO, Labelled
from dedupe.components import union_find
from dedupe.settings import BYTES, PHASH, PIXELS, TIERS, Found, Settings, accept

_NONE = -1


@dataclass(frozen=True)
class Judged:
    """Pairs of images that a tier takes for duplicates.

    Attributes:
        names: [i] the item ids, sorted.
        source, made: [i] their labels.
        a, b: int64 [n], places of items, a < b; each pair once, pairs of exact copies included.
        tier: int8 [n], the cheapest that takes it.
        thumbnail, combined: float32 [n], its scores, or NaN.
    """

    names: np.ndarray
    source: np.ndarray
    made: np.ndarray
    a: np.ndarray
    b: np.ndarray
    tier: np.ndarray
    thumbnail: np.ndarray
    combined: np.ndarray

    def take(self, pairs: np.ndarray) -> Judged:
        """The chosen pairs."""
        arrays = {name: getattr(self, name)[pairs] for name in ("a", "b", "tier", "thumbnail", "combined")}
        return replace(self, **arrays)

    def within(self, threshold: float, thumbnail_threshold: float) -> Judged:
        """Those that pass higher thresholds, and those of the tiers before these."""
        over = (self.combined >= np.float32(threshold)) | (self.thumbnail >= np.float32(thumbnail_threshold))
        return self.take(np.flatnonzero(over | (self.tier <= PHASH)))

    def of_items(self, chosen: np.ndarray) -> Judged:
        """The pairs of the items of bool [i]; the labels of others are blank."""
        found = self.take(np.flatnonzero(chosen[self.a] & chosen[self.b]))
        return replace(found, made=np.where(chosen, self.made, ""))

    @property
    def same(self) -> np.ndarray:
        """bool [n]: of one photo."""
        return self.source[self.a] == self.source[self.b]

    @property
    def untouched(self) -> np.ndarray:
        """bool [n]: two photos as they were taken."""
        return (self.made[self.a] == PHOTO) & (self.made[self.b] == PHOTO)


def judge(report: Path, labelled: Labelled, settings: Settings) -> Judged:
    """The pairs of a report that are duplicates by `settings`, none of them looser than what it was made with.

    A report has one pair for each item that is an exact copy, and the pairs of one item of those; here, all members of
    two exact classes are pairs when the classes are.
    """
    names = np.array(sorted(labelled.source))
    table = pq.read_table(report / "pairs.parquet")
    ends = [np.searchsorted(names, table[name].to_numpy()) for name in ("item_id", "other_item_id")]
    exact = np.full(len(table), _NONE, np.int8)
    for number in (BYTES, PIXELS):
        exact[table["tier"].to_numpy() == TIERS[number]] = number
    numbers = {name: table[name].fill_null(_NONE).to_numpy() for name in ("hamming", "hamming_256")}
    scores = [table[f"{name}_score"].fill_null(np.nan).to_numpy() for name in ("thumbnail", "embedding")]
    tier, _ = accept(Found(exact, numbers["hamming"], numbers["hamming_256"], *scores), settings)
    taken = np.flatnonzero(tier >= 0)
    one, other, tier = ends[0][taken], ends[1][taken], tier[taken]
    source, made = (np.array([label[name] for name in names]) for label in (labelled.source, labelled.made))
    a, b, tiers, places = _expanded(len(names), one, other, tier)
    thumbnail, combined = (np.where(places >= 0, score[taken][places], np.float32(np.nan)) for score in scores)
    return Judged(names, source, made, a, b, tiers, thumbnail, combined)


def _expanded(items: int, one: np.ndarray, other: np.ndarray, tier: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pairs of all members of exact classes that are a pair: a, b, tier, and the place of what was found, or -1."""
    klass, by_bytes = (_classes(items, one[tier <= most], other[tier <= most]) for most in (PIXELS, BYTES))
    members: dict[int, list[int]] = {}
    for item, label in enumerate(klass.tolist()):
        members.setdefault(label, []).append(item)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for group in members.values():
        for item, mate in itertools.combinations(group, 2):
            found[item, mate] = (BYTES if by_bytes[item] == by_bytes[mate] else PIXELS, -1)
    for place in np.lexsort((-np.arange(len(one)), -tier)).tolist():  # Of several of two classes, the cheapest is last.
        left, right = klass[one[place]], klass[other[place]]
        for item, mate in itertools.product(members[left], members[right]) if left != right else ():
            found[min(item, mate), max(item, mate)] = (int(tier[place]), place)
    pairs = np.array([(*pair, *what) for pair, what in found.items()], np.int64).reshape(-1, 4)
    return pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(np.int8), pairs[:, 3]


def _classes(items: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 [items]: the same number for items that edges connect."""
    labels = np.arange(items)
    if len(one):
        nodes, found = union_find(np.stack([one, other], axis=1))
        labels[nodes] = found
    return labels


def exact_quality(judged: Judged) -> dict[str, Any]:
    """Of pairs by equal bytes or pixels: precision over all images, and the share of the photos' copies that they
    find."""
    copies = np.isin(judged.made, (PHOTO, *COPIES))
    copied = np.isin(judged.source, judged.source[np.isin(judged.made, COPIES)]) & copies
    _, sizes = np.unique(judged.source[copied], return_counts=True)
    wanted = int((sizes * (sizes - 1) // 2).sum())
    pairs = judged.tier <= PIXELS
    right = pairs & judged.same & copied[judged.a] & copied[judged.b]
    return {
        "pairs": int(pairs.sum()),
        "precision": _share(right.sum(), pairs.sum()),
        "recall": _share(right.sum(), wanted),
    }


def edited_quality(judged: Judged) -> dict[str, Any]:
    """Of photos and their edits, without exact copies: what each tier adds, cheapest first, and what all find."""
    chosen = ~np.isin(judged.made, (*COPIES, ""))
    mine = judged.of_items(chosen)
    wanted = _wanted(mine, chosen)
    tiers = {name: _counts(mine, mine.tier <= number, wanted) for number, name in enumerate(TIERS)}
    return {**tiers[TIERS[-1]], "with": tiers}


def _wanted(judged: Judged, chosen: np.ndarray) -> dict[str, int]:
    """How many pairs there are to find."""
    sources = np.unique(judged.source[chosen & (judged.made != PHOTO)])
    _, sizes = np.unique(judged.source[chosen & np.isin(judged.source, sources)], return_counts=True)
    return {"of_one_photo": int((sizes * (sizes - 1) // 2).sum()), "with_the_photo": int((sizes - 1).sum())}


def _counts(judged: Judged, taken: np.ndarray, wanted: dict[str, int]) -> dict[str, Any]:
    same, untouched = judged.same & taken, judged.untouched & taken
    with_photo = (judged.made[judged.a] == PHOTO) ^ (judged.made[judged.b] == PHOTO)
    labelled = int(taken.sum() - untouched.sum())
    return {
        "pairs": int(taken.sum()),
        "precision": _share(same.sum(), labelled),
        "precision_with_untouched": _share(same.sum(), taken.sum()),
        "untouched_pairs": int(untouched.sum()),
        "recall": _share(same.sum(), wanted["of_one_photo"]),
        "recall_with_the_photo": _share((same & with_photo).sum(), wanted["with_the_photo"]),
    }


def found_by_edit(judged: Judged, edits: Iterable[str]) -> dict[str, dict[str, float]]:
    """Of each edit, the share of its pairs with the photo that is found once each tier has looked, cheapest first."""
    with_photo = judged.same & (judged.made[judged.a] == PHOTO) ^ judged.same & (judged.made[judged.b] == PHOTO)
    edited = np.where(judged.made[judged.a] == PHOTO, judged.made[judged.b], judged.made[judged.a])
    table = {}
    for name in edits:
        tiers = judged.tier[with_photo & (edited == name)]
        images = int((judged.made == name).sum())
        table[name] = {tier: _share((tiers <= number).sum(), images) for number, tier in enumerate(TIERS)}
    return table


def group_quality(report: Path, labelled: Labelled) -> dict[str, Any]:
    """Of edits: how many share a group with another image of their photo. Of all dropped images that are not untouched
    photos: how many are dropped for an image of their own photo."""
    table = pq.read_table(
        report / "groups.parquet", columns=["group_id", "item_id", "kept_item_id", "role"]
    ).to_pylist()
    mates: dict[tuple[str, str], int] = {}
    for row in table:
        key = (row["group_id"], labelled.source[row["item_id"]])
        mates[key] = mates.get(key, 0) + 1
    edited = {name for name, made in labelled.made.items() if made != PHOTO and made not in COPIES}
    grouped = sum(
        mates[row["group_id"], labelled.source[row["item_id"]]] > 1 for row in table if row["item_id"] in edited
    )
    dropped = [row for row in table if row["role"] == "dropped" and labelled.made[row["item_id"]] != PHOTO]
    right = sum(labelled.source[row["item_id"]] == labelled.source[row["kept_item_id"]] for row in dropped)
    return {
        "edits_in_a_group_of_their_photo": _share(grouped, len(edited)),
        "dropped": len(dropped),
        "dropped_for_their_photo": _share(right, len(dropped)),
    }


def _share(part: Any, whole: Any) -> float:
    return round(float(part) / float(whole), 5) if whole else 1.0
