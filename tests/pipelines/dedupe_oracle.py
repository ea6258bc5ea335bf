"""What a dedupe job has to find, by comparing every item with every other, and what it has to do about it."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog import storage
from catalog.embedding_file import read_file
from catalog.snapshot import read_snapshot
from dedupe import hash_guard
from dedupe.measure import Measure
from dedupe.placeholders import nearly_empty
from dedupe.settings import Settings

Row = dict[str, Any]
BYTES, PIXELS, PHASH, THUMBNAIL, EMBEDDING = "bytes", "pixels", "phash", "thumbnail", "embedding"


@dataclass
class Expected:
    """Items are numbers into `rows`."""

    rows: list[Row]
    klass: list[int]
    marked: set[int]
    relation: Callable[[int, int], tuple[str, float] | None]
    kept_for: dict[int, tuple[int, str, float]]
    role: list[str]


def read_rows(stores: dict[str, str]) -> list[Row]:
    """Every item of the newest snapshots, in the order of rows, with its `dataset`."""
    found = []
    for name, store in stores.items():
        snapshot = read_snapshot(store, 1)
        for partition in range(snapshot.partitions):
            rows: list[Row] = []
            for entry in snapshot.files_of(partition):
                table = read_file(storage.join(store, entry.path))
                rows += [row for row in table.to_pylist() if row["item_id"] not in entry.removed]
            found += [{"dataset": name or None, **row} for row in sorted(rows, key=lambda each: each["item_id"])]
    return found


def expected(rows: list[Row], settings: Settings, measure: Path) -> Expected:
    """The rules as documents say them, item by item."""
    relation, klass = _relation(rows, settings, measure)
    marked = _marked(rows, klass, settings, relation)
    ignored = {frozenset(pair) for pair in settings.ignored}

    def duplicates(one: int, other: int) -> tuple[str, float] | None:
        if one in marked or other in marked:
            return None
        if frozenset((rows[one]["item_id"], rows[other]["item_id"])) in ignored:
            return None
        if settings.across and group_value(rows[one], settings) == group_value(rows[other], settings):
            return None
        return relation(one, other)

    kept_for, role = _greedy(rows, marked, settings, duplicates)
    return Expected(rows, klass, marked, duplicates, kept_for, role)


def group_value(row: Row, settings: Settings) -> str | None:
    if settings.group_column is None:
        return row["dataset"]
    return (row["metadata"] or {}).get(settings.group_column)


def _relation(rows: list[Row], settings: Settings, url: Path) -> tuple[Callable, list[int]]:
    """The tier and score of two pictures, and a number for each item, equal of those that are as good as the same."""
    pixels = list(range(len(rows)))
    for name, tier in (("content_hash", BYTES), ("pixel_hash", PIXELS)):
        if tier in settings.tiers:
            pixels = _joined(pixels, [row.get(name) for row in rows])
    thumbnails = np.array([list(row["thumbnail"]) for row in rows], np.uint8)
    vectors = np.array([row["embedding"] for row in rows], np.float32)
    empty = nearly_empty(thumbnails)
    told = hash_guard.tells(thumbnails) & ~empty
    signatures = [(row["phash"], row.get("phash_256"), row["thumbnail"]) for row in rows]
    twins = [each if tells else None for each, tells in zip(signatures, told, strict=True)]
    klass = _joined(pixels, twins) if PHASH in settings.tiers else pixels
    best: dict[tuple[int, int], tuple[int, float, str]] = {}
    views = None
    if {THUMBNAIL, EMBEDDING} & set(settings.tiers):
        measured = Measure.load(str(url))
        described = measured.describe(thumbnails, vectors)
        views = [[measured.scores(one, other[:1]) for other in described] for one in described]
    for one, other in itertools.combinations(range(len(rows)), 2):
        if empty[one] or empty[other] or klass[one] == klass[other]:
            continue
        found: list[tuple[int, float, str]] = []
        apart = (rows[one]["phash"] ^ rows[other]["phash"]).bit_count()
        if PHASH in settings.tiers and apart <= settings.phash_radius and told[one] and told[other]:
            longer = [rows[each].get("phash_256") for each in (one, other)]
            far = 0 if None in longer else (int.from_bytes(longer[0]) ^ int.from_bytes(longer[1])).bit_count()
            agree = hash_guard.agree(thumbnails[one : one + 1], thumbnails[other : other + 1])[0]
            if far <= settings.phash_256_radius and agree:
                found.append((2, float(np.float32(1 - apart / 64)), PHASH))
        if views is not None:
            scores = [
                max(float(views[one][other][part].max()), float(views[other][one][part].max())) for part in (0, 1)
            ]
            if THUMBNAIL in settings.tiers and np.float32(scores[0]) >= np.float32(settings.thumbnail_threshold):
                found.append((3, scores[0], THUMBNAIL))
            if EMBEDDING in settings.tiers and np.float32(scores[1]) >= np.float32(settings.threshold):
                found.append((4, scores[1], EMBEDDING))
        for tier, score, name in found[:1]:
            for pair in ((klass[one], klass[other]), (klass[other], klass[one])):
                there = best.get(pair, (9, 0.0, ""))
                best[pair] = min(there, (tier, score, name), key=lambda each: (each[0], -each[1]))

    def relation(one: int, other: int) -> tuple[str, float] | None:
        if klass[one] == klass[other]:
            same = BYTES in settings.tiers and rows[one]["content_hash"] == rows[other]["content_hash"]
            return BYTES if same else PIXELS if pixels[one] == pixels[other] else PHASH, 1.0
        edge = best.get((klass[one], klass[other]))
        return None if edge is None else (edge[2], edge[1])

    return relation, klass


def _joined(klass: list[int], values: list[Any]) -> list[int]:
    """The classes when items of equal values, but for None, are one."""
    first: dict[Any, int] = {}
    for number, value in enumerate(values):
        if value is not None:
            there = klass[first.setdefault(value, number)]
            klass = [there if each == klass[number] else each for each in klass]
    return klass


def _marked(rows: list[Row], klass: list[int], settings: Settings, relation: Callable) -> set[int]:
    """Items whose picture is that of too many products, or nearly empty, or a duplicate of one that is."""
    first: set[int] = set()
    for name, tier in (("content_hash", BYTES), ("pixel_hash", PIXELS)):
        if tier not in settings.tiers:
            continue
        groups = defaultdict(list)
        for number, row in enumerate(rows):
            if row.get(name) is not None:
                groups[row[name]].append(number)
        for members in groups.values():
            if _too_many(rows, members, settings) or any(
                nearly_empty(np.frombuffer(rows[each]["thumbnail"], np.uint8)[None])[0] for each in members
            ):
                first.update(members)
    near = {other for one in first for other in range(len(rows)) if relation(one, other) is not None}
    classes = {klass[each] for each in first | near}
    return {number for number in range(len(rows)) if klass[number] in classes}


def _too_many(rows: list[Row], members: list[int], settings: Settings) -> bool:
    products = {rows[each]["product_id"] for each in members} - {None}
    values = {group_value(rows[each], settings) for each in members} - {None}
    limit = settings.placeholder_groups
    return len(products) > settings.placeholder_products or (limit is not None and len(values) > limit)


def protected(row: Row, settings: Settings) -> bool:
    metadata = row["metadata"] or {}
    by_value = any(str(metadata.get(name)) in values for name, values in settings.protected_values)
    return row["item_id"] in settings.protected or by_value


def _preference(rows: list[Row], number: int, settings: Settings) -> tuple:
    """`made:asc,resolution,bytes`, or without the first."""
    row = rows[number]
    made = (row["metadata"] or {}).get("made") if "made:asc" in settings.keeper else 0
    size = row.get("bytes")
    return (
        not protected(row, settings),
        (made is None, made or 0),
        -row["width"] * row["height"],
        (size is None, -(size or 0)),
        row["item_id"],
        number,
    )


def _greedy(rows: list[Row], marked: set[int], settings: Settings, duplicates: Callable) -> tuple[dict, list[str]]:
    order = sorted(set(range(len(rows))) - marked, key=lambda each: _preference(rows, each, settings))
    safe = {each for each in order if protected(rows[each], settings)}
    told: dict[int, tuple[int, str, float]] = {}
    keeps: set[int] = set()
    for member in order:
        if member in told and member not in safe:
            continue
        keeps.add(member)
        for other in order:
            if other in told or other in keeps or (member in told and other in safe):
                continue
            if (edge := duplicates(member, other)) is not None:
                told[other] = (member, *edge)
    takes = Counter(keeper for keeper, _, _ in told.values())
    role = []
    for number in range(len(rows)):
        if number in marked:
            role.append("placeholder")
        elif number in told and not (number in safe and takes[number]):
            role.append("protected" if number in safe else "dropped")
        else:
            mine = [each for each, (keeper, _, _) in told.items() if keeper == number]
            mine = [each for each in mine if not (each in safe and takes[each])]
            role.append("keeper" if mine else "alone")
    kept_for = {each: edge for each, edge in told.items() if role[each] in ("dropped", "protected")}
    for keeper in {edge[0] for edge in kept_for.values()}:
        group = [keeper, *(each for each, edge in kept_for.items() if edge[0] == keeper)]
        if _too_many(rows, group, settings):
            for each in group:
                role[each] = "placeholder"
                kept_for.pop(each, None)
    return kept_for, role


def components(found: Expected) -> list[int]:
    """A number for each item, equal of those that hang together."""
    label = list(range(len(found.rows)))
    for one, other in itertools.combinations(range(len(found.rows)), 2):
        if label[one] != label[other] and found.relation(one, other) is not None:
            label = [label[one] if each == label[other] else each for each in label]
    return label


def leakage(found: Expected, settings: Settings) -> tuple[list[str], list[list[int]], list[list[int]]]:
    """Values of the group column, and the items and pairs that they share."""
    values = [group_value(row, settings) for row in found.rows]
    names = sorted({value for value in values if value is not None})
    items, pairs = np.zeros((len(names), len(names)), int), np.zeros((len(names), len(names)), int)
    reached: dict[int, set[int]] = defaultdict(set)
    for one, other in itertools.combinations(range(len(values)), 2):
        if values[one] is None or values[other] is None or found.relation(one, other) is None:
            continue
        a, b = names.index(str(values[one])), names.index(str(values[other]))
        pairs[a, b] += 1
        if a != b:
            pairs[b, a] += 1
        reached[one].add(b)
        reached[other].add(a)
    for number, there in reached.items():
        for b in there:
            items[names.index(str(values[number])), b] += 1
    return names, items.tolist(), pairs.tolist()
