"""Version manifests: what a published index is, of what it was made, and how it was judged."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog import canonical_json, storage
from catalog.encoder_info import EncoderInfo
from catalog.errors import IntegrityError, UsageError

# Described in `catalog/schemas/manifest.v2.json`; version 1 is read as well.
SCHEMA_VERSION = 2
_READ = (1, 2)


@dataclass(frozen=True)
class ManifestFile:
    """A file of a version: its path below the version's folder, what it is for, its size and sha256."""

    path: str
    role: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`, written last: a version without one is not a version.

    Attributes:
        version: its id.
        name: of the artifact.
        created_at: UTC, ISO 8601.
        encoder: that made the vectors.
        metric: that the index measures with.
        vectors: rows of the index.
        index: the plan, as JSON.
        codebook: id, None for a Flat index.
        training: of the codebook: rows, seed, whether it was kept or trained, and why, and how it fits.
        search: the default operating point, as JSON.
        recall: at that point, by depth.
        source: the embedding store, its snapshot and that snapshot's counts.
        libraries: versions of what made the files.
        seconds_by_stage: how long each stage took.
        files: every file of the version besides the manifest.
        parent: the version that the channel pointed to when this one was judged; None where there was none.
        needs: versions whose files are read with this one's; none for a version that is whole in itself.
        counts: where every row of the catalog went: `input`, `embedded`, `reused`, `rejected`, `removed`, `indexed`.
        pareto: the operating points that no other beats, cheapest first, as in `evaluation.json`.
        serving: what a consumer needs: `load_flags` of FAISS, `faiss_at_least`, `memory_bytes` it will hold and
            `disk_bytes` it will map.
        soundness: what its own files say, see `index_builder.publishing.soundness`.
        earlier: the version whose codebook this one could have kept; part of what the version is.
        attempt: name of the try that wrote this manifest.
        thresholds: what the gates asked for, see `index_builder.publishing.verdict.Thresholds`.
        gates: verdicts, see `index_builder.publishing.verdict`.
        labels: names and values that users gave.
        pins: reasons to keep the version, given when it was built.
    """

    version: str
    name: str
    created_at: str
    encoder: EncoderInfo
    metric: str
    vectors: int
    index: dict[str, Any]
    codebook: str | None
    search: dict[str, int]
    recall: dict[str, float]
    source: dict[str, Any]
    libraries: dict[str, str]
    seconds_by_stage: dict[str, float]
    files: tuple[ManifestFile, ...] = field(default_factory=tuple)
    training: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    needs: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    pareto: list[dict[str, Any]] = field(default_factory=list)
    serving: dict[str, Any] = field(default_factory=dict)
    soundness: dict[str, Any] = field(default_factory=dict)
    earlier: str | None = None
    attempt: str = ""
    thresholds: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    pins: list[str] = field(default_factory=list)

    def file(self, role: str) -> ManifestFile | None:
        """The first file with a role, None where the version has none."""
        return next(iter(self.files_of(role)), None)

    def files_of(self, role: str) -> list[ManifestFile]:
        """All files with a role, in the order of their paths: the parts of what is one file in a smaller version."""
        return sorted((entry for entry in self.files if entry.role == role), key=lambda entry: entry.path)

    def to_bytes(self) -> bytes:
        """Canonical JSON, with the sha256 of all other fields among them."""
        value = {**asdict(self), "schema_version": SCHEMA_VERSION, "encoder": self.encoder.to_json()}
        value = {**value, "files": [asdict(entry) for entry in self.files], "needs": list(self.needs)}
        return canonical_json.dump({**value, "sha256": canonical_json.digest(value)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Raises IntegrityError or UsageError naming `where`."""
        value = canonical_json.load(data, where)
        schema_version = value.pop("schema_version", None) if isinstance(value, dict) else None
        if schema_version not in _READ:
            raise UsageError(
                f"{where} has schema version {schema_version}; this version of catalog-indexer reads 1 and 2"
            )
        if schema_version >= 2:
            digest = value.pop("sha256", None)
            if digest != canonical_json.digest({**value, "schema_version": schema_version}):
                raise IntegrityError(f"{where} is damaged: its sha256 is not that of its content")
        try:
            value["needs"] = tuple(value.get("needs", ()))
            value["encoder"] = EncoderInfo.from_json(value["encoder"])
            value["files"] = tuple(ManifestFile(**entry) for entry in value["files"])
            return cls(**value)
        except (KeyError, TypeError, ValueError):
            raise IntegrityError(f"{where} is damaged: it is not a manifest") from None


def proves_itself(data: bytes, where: str) -> bool:
    """Whether a manifest has its own sha256 in it: those of schema version 1 have not."""
    return int(canonical_json.load(data, where)["schema_version"]) >= 2


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(flag: str, name: str) -> str:
    """`name` if it can be a folder and a file of every store, inside the artifact store. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{flag} {name!r} is no name: expected letters, digits, '.', '_' and '-', a letter or a digit first"
        )
    return name


def artifact_root(artifacts: str, name: str) -> str:
    """URL of ARTIFACTS/<name>. Raises UsageError."""
    return storage.join(storage.absolute(artifacts), check_name("--name", name))


def version_folder(root: str, version: str) -> str:
    """The folder of a version below ARTIFACTS/<name>."""
    return storage.join(root, "versions", version)


def manifest_url(root: str, version: str) -> str:
    """Where the manifest of a version is."""
    return storage.join(version_folder(root, version), "manifest.json")


def read_manifest(root: str, version: str) -> Manifest:
    """The manifest of a version, unverified. Raises IntegrityError."""
    url = manifest_url(root, version)
    try:
        return Manifest.from_bytes(storage.read_bytes(url), url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; version {version} is not whole") from None


def sha256_of(url: str) -> tuple[str, int]:
    """sha256 and size of a stored object."""
    digest, size = hashlib.sha256(), 0
    with storage.open_read(url) as file:
        while chunk := file.read(8 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
