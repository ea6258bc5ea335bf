"""What becomes of every item of a stretch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupe.bucketed import read_bucket
from dedupe.job import Layout, Stretch
from dedupe.members import Members
from dedupe.roles import ALONE, DROPPED, KEEPER, PLACEHOLDER, PROTECTED, ROLES, group_ids, texts
from dedupe.settings import BYTES, TIERS
from dedupe.stages.gathering import marks_of

LINES = ("item_id", "group_id", "kept_item_id", "tier", "score", "reason")
DATASETS = ("dataset", "kept_dataset")
_ALIKE = (
    "the same bytes as ",
    "the same pixels as ",
    "its perceptual hash is that of ",
    "its thumbnail is like that of ",
    "thumbnail and embedding are like those of ",
)


@dataclass(frozen=True)
class Lines:
    """One line for each item of a stretch, in the order of rows.

    Attributes:
        item_id: string [n].
        dataset: of all of them; None where there is one only.
        policy: by which a keeper is the first of its group.
        role: int8 [n], of `dedupe.roles`.
        tier: int8 [n], -1 for none.
        said: string columns `group_id`, `kept_item_id`, `kept_dataset`, `placeholder`, `why`, `component`, and `score`;
            `centre_…` as in `dedupe.stages.grouping.DECISIONS`.
        lone: bool [n]: those that stand for themselves, of which no component tells.
    """

    item_id: pa.Array
    dataset: str | None
    policy: str
    role: np.ndarray
    tier: np.ndarray
    said: pa.Table
    lone: np.ndarray

    @property
    def paired(self) -> np.ndarray:
        """bool [n]: whether there is somebody whom copies of each are paired with."""
        return np.asarray(self.said["centre_row"].is_valid())

    def told(self, chosen: np.ndarray) -> pa.Table:
        """The lines of those items (bool [n]) as a report has them."""
        place = pa.array(np.flatnonzero(chosen))
        said, ids, role, tier = self.said.take(place), self.item_id.take(place), self.role[chosen], self.tier[chosen]
        own = said["kept_item_id"].is_null()
        dataset = pa.scalar(self.dataset, pa.string())
        return pa.table(
            {
                "item_id": ids,
                "group_id": said["group_id"],
                "kept_item_id": pc.coalesce(said["kept_item_id"], ids),
                "tier": texts(TIERS, tier),
                "score": said["score"],
                "reason": self._reasons(role, tier, said),
                "dataset": pa.array([self.dataset] * len(ids), pa.string()),
                "kept_dataset": pc.if_else(own, dataset, said["kept_dataset"]),
                "role": texts(ROLES, role),
            }
        )

    def _reasons(self, role: np.ndarray, tier: np.ndarray, said: pa.Table) -> pa.Array:
        """string [n]: a sentence for people."""
        alike = pc.binary_join_element_wise(texts(_ALIKE, tier), said["kept_item_id"], "")
        why = pc.replace_substring(pc.fill_null(said["why"], "like a placeholder"), "_", " ")
        keeper = pa.scalar(f"first of its group by {self.policy}, item_id")
        result = pc.if_else(said["component"].is_valid(), "nothing like it is kept", "unique")
        for number, sentence in (
            (KEEPER, keeper),
            (DROPPED, alike),
            (PROTECTED, pc.binary_join_element_wise("protected; ", alike, "")),
            (PLACEHOLDER, pc.binary_join_element_wise("a placeholder: ", why, "")),
        ):
            result = pc.if_else(pa.array(role == number), sentence, result)
        return result


def read_lines(layout: Layout, stretch: Stretch, members: Members) -> Lines:
    """The lines of a stretch: of what stands for others from the decisions on its component, or from its exact class
    where that is one of placeholders; what it stands for follows it."""
    count, across = len(members), layout.job.settings.across
    urls = [layout.job.at("decisions", f"{bucket:06d}.arrow") for bucket in range(layout.buckets)]
    decisions = read_bucket(urls, stretch.number)
    place = np.full(count, -1, np.int64)
    place[decisions["row"].to_numpy() - stretch.row] = np.arange(len(decisions))
    said = decisions.take(pa.array(place, mask=place < 0)).combine_chunks()
    role = said["role"].fill_null(ALONE).to_numpy().astype(np.int8)
    tier = said["tier"].fill_null(-1).to_numpy().astype(np.int8)
    said = _marked(said, role, layout, stretch)
    # From here on each is told what is true of the one that stands for it.
    leader, dataset = pa.array(members.leader), layout.job.sources[stretch.source].name or None
    named = members.item_id.take(pa.array(members.face[members.leader]))
    lone = (place < 0) & members.leads & (role != PLACEHOLDER)
    role, tier, said = role[members.leader], tier[members.leader], said.take(leader)
    several = members.weights()[members.leader] > 1
    alone = (place < 0)[members.leader] & several & (role != PLACEHOLDER)
    said = _put(said, "component", alone, members.item_id.take(pa.array(members.smallest()[members.leader])))
    if not across:
        promoted = several & (role == ALONE)
        faces = np.flatnonzero(promoted & ~members.copies)
        names = group_ids([dataset] * len(faces), members.item_id.take(pa.array(faces)).to_pylist())
        where = np.full(count, -1, np.int64)
        where[faces] = np.arange(len(faces))
        own = where[members.face]
        said = _put(said, "group_id", promoted, names.take(pa.array(own, mask=own < 0)))
        said = _put(said, "kept_item_id", promoted, named)
        said = _put(said, "kept_dataset", promoted, pa.array([dataset] * count, pa.string()))
        role = np.where(promoted, KEEPER, role)
        said = _with_copies(said, alone, members, dataset)
        itself = said["centre_row"].fill_null(-1).to_numpy() == members.row[members.face]
        said = _put(said, "centre_group", itself, said["group_id"])
        follows = members.copies & (role == KEEPER)
        role, tier = np.where(follows, DROPPED, role).astype(np.int8), np.where(follows, BYTES, tier).astype(np.int8)
        score = pc.if_else(pa.array(follows), pa.scalar(1.0, pa.float32()), said["score"])
        said = said.set_column(said.column_names.index("score"), "score", score)
    return Lines(members.item_id, dataset, layout.job.settings.keeper, role, tier, said, lone)


def _marked(said: pa.Table, role: np.ndarray, layout: Layout, stretch: Stretch) -> pa.Table:
    """With the marks of exact classes; `role` is changed in place."""
    marks = marks_of(layout, stretch)
    place = np.full(len(role), -1, np.int64)
    place[marks["row"].to_numpy() - stretch.row] = np.arange(len(marks))
    role[place >= 0] = PLACEHOLDER
    for name in ("placeholder", "why"):
        said = _put(said, name, place >= 0, marks[name].take(pa.array(place, mask=place < 0)))
    return said


def _with_copies(said: pa.Table, chosen: np.ndarray, members: Members, dataset: str | None) -> pa.Table:
    """Copies of which no component tells are paired with the one that is kept."""
    face = pa.array(members.face)
    for name, values in (
        ("centre_row", pa.array(members.row[members.face])),
        ("centre_item_id", members.item_id.take(face)),
        ("centre_dataset", pa.array([dataset] * len(members), pa.string())),
        ("centre_tier", pa.array(np.full(len(members), BYTES, np.int8))),
    ):
        said = _put(said, name, chosen, values)
    return said


def _put(said: pa.Table, name: str, chosen: np.ndarray, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """With other values in a column, where chosen."""
    return said.set_column(said.column_names.index(name), name, pc.if_else(pa.array(chosen), values, said[name]))
