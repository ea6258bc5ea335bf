"""Two versions side by side: what their manifests and evaluations say, and which items differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from catalog import canonical_json
from catalog.channel import channel_names, read_channel
from catalog.errors import CatalogIndexerError, UsageError
from catalog.manifest import Manifest
from index_builder.publishing.item_changes import ItemChanges, Tell, compare_items
from index_builder.publishing.verdict import Verdict
from index_builder.publishing.verify import find_version, read_published, read_verified

# Of a plan, what is explained, measured or derived elsewhere.
_NOT_SETTINGS = ("why",)


@dataclass(frozen=True)
class Line:
    """One property of both versions.

    Attributes:
        section: `counts`, `metrics`, `settings` or `gates`.
        name: of the property.
        before: its value in the first version; None where it has none.
        after: in the second.
    """

    section: str
    name: str
    before: Any
    after: Any

    @property
    def same(self) -> bool:
        return bool(self.before == self.after)


@dataclass(frozen=True)
class Difference:
    """Two versions compared.

    Attributes:
        before: the first version's manifest.
        after: the second's.
        lines: what they say, the same or not.
        codebook: `kept`, `another`, or `none` where neither has one.
        items: which items differ; None where that was not asked for.
    """

    before: Manifest
    after: Manifest
    lines: list[Line]
    codebook: str
    items: ItemChanges | None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"before": self.before.version, "after": self.after.version, "codebook": self.codebook}
        for line in self.lines:
            found.setdefault(line.section, {})[line.name] = {
                "before": line.before,
                "after": line.after,
                "same": line.same,
            }
        return {**found, "items": self.items.to_json() if self.items is not None else None}


def diff(
    root: str, before: str, after: str, tell: Tell = lambda kind, item_ids: None, items: bool = True
) -> Difference:
    """Compares two versions.

    Args:
        root: URL of ARTIFACTS/<name>.
        before: a version, or a channel, which stands for the version that it points to.
        after: another.
        tell: see `compare_items`.
        items: compare the items too, which reads their files, and those of the vectors.

    Raises:
        UsageError: there is no such version or channel.
        IntegrityError: a file is not what was published.
    """
    one, other = (read_published(root, find_version(root, *_named(root, each))) for each in (before, after))
    lines = [*_counts(one, other), *_metrics(root, one, other), *_settings(one, other), *_gates(one, other)]
    if one.codebook is None and other.codebook is None:
        codebook = "none"
    else:
        codebook = "kept" if one.codebook == other.codebook else "another"
    changes = compare_items(root, one, other, tell) if items else None
    return Difference(one, other, lines, codebook, changes)


def _named(root: str, name: str) -> tuple[str, str | None]:
    """The channel and the version to look for."""
    if name in channel_names(root) and read_channel(root, name).pointer is not None:
        return name, None
    try:
        find_version(root, version=name)
    except UsageError as error:
        raise UsageError(f"{error}; its channels are: {', '.join(channel_names(root)) or 'none'}") from None
    return "", name


def _pairs(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Line]:
    for name in dict.fromkeys([*before, *after]):
        yield Line(section, name, before.get(name), after.get(name))


def _counts(before: Manifest, after: Manifest) -> Iterable[Line]:
    def of(manifest: Manifest) -> dict[str, Any]:
        size = sum(file.bytes for file in manifest.files)
        return {
            "vectors": manifest.vectors,
            **manifest.counts,
            "snapshot": manifest.source.get("snapshot"),
            "bytes": size,
        }

    return _pairs("counts", of(before), of(after))


def _metrics(root: str, before: Manifest, after: Manifest) -> Iterable[Line]:
    def of(manifest: Manifest) -> dict[str, Any]:
        intervals = _intervals(root, manifest)
        found: dict[str, Any] = {}
        for depth, recall in manifest.recall.items():
            found[f"recall@{depth}"] = recall
            found[f"recall@{depth} interval"] = intervals.get(depth)
        found["best recall@10"] = max((each["recall"]["10"] for each in manifest.pareto), default=None)
        found["operating point"] = manifest.search
        found["pareto points"] = [[each.get("nprobe"), each["recall"]["10"]] for each in manifest.pareto] or None
        for name in ("self_lookup", "duplicate_ids", "list_imbalance", "empty_lists"):
            found[name] = manifest.soundness.get(name)
        found["memory_bytes"] = manifest.serving.get("memory_bytes")
        return found

    return _pairs("metrics", of(before), of(after))


def _intervals(root: str, manifest: Manifest) -> dict[str, Any]:
    """The 95 % confidence intervals of recall by depth; nothing where the evaluation has none."""
    entry = manifest.file("evaluation")
    if entry is None:
        return {}
    try:
        data = read_verified(root, manifest.version, entry)
        return canonical_json.parse(data, entry.path, lambda value: dict(value.get("interval") or {}))
    except CatalogIndexerError:
        return {}


def _settings(before: Manifest, after: Manifest) -> Iterable[Line]:
    def of(manifest: Manifest) -> dict[str, Any]:
        encoder = {f"encoder {name}": value for name, value in asdict(manifest.encoder).items()}
        libraries = {f"library {name}": value for name, value in manifest.libraries.items()}
        plan = {name: value for name, value in manifest.index.items() if name not in _NOT_SETTINGS}
        training = {name: manifest.training.get(name) for name in ("decision", "rows", "seed", "stratify")}
        return {
            **plan,
            "metric": manifest.metric,
            "codebook": manifest.codebook,
            **{f"training {name}": value for name, value in training.items()},
            "load flags": manifest.serving.get("load_flags"),
            "labels": manifest.labels,
            **encoder,
            **libraries,
        }

    return _pairs("settings", of(before), of(after))


def _gates(before: Manifest, after: Manifest) -> Iterable[Line]:
    def of(manifest: Manifest) -> dict[str, str]:
        return {each.gate: _outcome(each) for each in map(Verdict.from_json, manifest.gates)}

    return _pairs("gates", of(before), of(after))


def _outcome(verdict: Verdict) -> str:
    if verdict.passed:
        return "passed"
    return "refused" if verdict.forced is None else f"forced: {verdict.forced}"
