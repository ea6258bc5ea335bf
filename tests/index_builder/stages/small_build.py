"""A build on a local disk, stage by stage and without Beam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from catalog.import_vectors import ImportConfig, import_vectors
from catalog.manifest import artifact_root
from catalog.snapshot import Snapshot, read_snapshot
from catalog.vector_source import VectorInput
from index_builder.planning.factory import parse_factory
from index_builder.stages.assembling import merge_codes, write_index_part
from index_builder.stages.encoding import encode_stretch
from index_builder.stages.sampling import sample_partition, sampled_rows
from index_builder.stages.training import codebook_to_use, read_queries, read_training, train
from index_builder.version_job import VersionJob
from index_builder.work import encoded_stretches, run_stretches, sampled_partitions
from tests.index_builder.vectors import clustered


@dataclass(frozen=True)
class SmallBuild:
    """A version that is built of 1,200 vectors in four partitions."""

    job: VersionJob
    snapshot: Snapshot

    def sample(self) -> None:
        for partition in sampled_partitions(self.snapshot, self.job):
            sample_partition(self.job, self.snapshot, partition, sampled_rows(self.job, self.snapshot))

    def train(self) -> None:
        train(self.job, self.snapshot)

    def encode(self) -> None:
        name, codebook = read_training(self.job).codebook, codebook_to_use(self.job)
        together = (name, codebook) if name and codebook else None
        for stretch in encoded_stretches(self.snapshot):
            encode_stretch(self.job, self.snapshot, stretch, together, read_queries(self.job))

    def merge(self) -> None:
        codebook = read_training(self.job).codebook
        assert codebook is not None
        for stretch in run_stretches(self.snapshot, self.job):
            merge_codes(self.job, self.snapshot, stretch, codebook)

    def assemble(self) -> bytes:
        """The bytes of the index."""
        write_index_part(self.job, self.snapshot, 0, codebook_to_use(self.job))
        return (Path(self.job.root) / "versions" / self.job.version / "index.faiss").read_bytes()

    def everything(self) -> bytes:
        """All of these stages, one after the other; the bytes of the index."""
        self.sample()
        self.train()
        self.encode()
        self.merge()
        return self.assemble()


def small_build(folder: Path, name: str = "shop", factory: str = "IVF8,SQ8") -> SmallBuild:
    """A build of the vectors of `folder`, which are imported by the first."""
    store = str(folder / "embeddings")
    if not (folder / "embeddings").exists():
        np.save(folder / "vectors.npy", clustered(1_200, 8))
        import_vectors(ImportConfig(VectorInput((str(folder / "vectors.npy"),)), store, "cosine", partitions=4))
    snapshot = read_snapshot(store, 1)
    plan = parse_factory(factory, snapshot.vectors, 8, "cosine")
    root = artifact_root(str(folder / "artifacts"), name)
    job = VersionJob(root, name, store, snapshot.encoder.fingerprint, 1, plan, "prod", queries=40)
    return SmallBuild(replace(job, version="one"), snapshot)
