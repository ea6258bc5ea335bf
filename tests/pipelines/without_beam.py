"""The embed job's own steps, called one after the other without a runner: fast enough for thousands of histories."""

from __future__ import annotations

from catalog.errors import CatalogIndexerError
from catalog.run import PartitionResult, Run
from pipelines.embed import EmbedConfig, prepare
from pipelines.embed_steps import EncodePartition, FinishRun, ReadRows, StoreRows


def embed_without_beam(config: EmbedConfig) -> dict:
    """Does what `pipelines.embed.embed` does; returns the run's summary."""
    job = prepare(config)
    partitions = job.finish.partitions
    chunks: dict[tuple[int, int], list[bytes]] = {}
    for reader in job.catalog.readers:
        for key, block in ReadRows(partitions, len(job.catalog.readers)).process(reader):
            chunks.setdefault(key, []).append(block)
    names: dict[int, list[str]] = {partition: [""] for partition in range(partitions)}
    for chunk in chunks.items():
        for partition, name in StoreRows(job.work).process(chunk):
            names[partition].append(name)
    step = EncodePartition(job.work)
    step.setup()
    results: list[PartitionResult] = []
    try:
        for element in names.items():
            results += step.process(element)
        results += [late.value for late in step.finish_bundle()]
    finally:
        step.teardown()
    run = Run(job.work.store, job.work.run_id)
    try:
        FinishRun(job.work, job.finish).process(results)
    except CatalogIndexerError:
        run.forget_rows()
        raise
    run.forget_rows()
    summary = run.read_summary()
    if not summary["changed"]:
        run.forget()
    return summary
