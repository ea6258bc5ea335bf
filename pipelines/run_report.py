"""The report of a run: one JSON object for machines, one page for people, and the latest of both beside them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog import canonical_json, storage
from catalog.process_identity import ProcessIdentity
from pipelines.report_page import report_page

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ReportPlaces:
    """URLs of a report, of its page, and of the folder of both."""

    folder: str
    report: str
    page: str

    @classmethod
    def of(cls, folder: str, run: str, started: float) -> ReportPlaces:
        """By the time at which the run began, so that reports are listed in their order."""
        when = datetime.datetime.fromtimestamp(started, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = storage.join(folder, f"{when}-{run}")
        return cls(folder, f"{name}.json", f"{name}.html")


@dataclass(frozen=True)
class RunReport:
    """What a run did and what came of it; `docs/formats.md` has the fields of its JSON.

    Attributes:
        run: its name.
        config_file: that it was told by, and `config`, what that said, without secrets.
        started, finished: seconds since 1970.
        outcome: `done`, `refused` or `failed`.
        exit_code: of the command.
        stage: at which it was stopped, and `error`, by what; None where it was not.
        seconds_by_stage: of this run.
        embed, index: the summaries of the jobs, None for one that did not end.
        replaced: the version that the channel pointed to before.
        collected: how much was deleted, waits and was marked, None where nothing was collected.
        dedupe: what the report of duplicates says, None where there is none.
        pareto: operating points of the version, and `default`, the one that it is served at.
        places: where the report goes.
        plot: SVG of the version's recall.
    """

    run: str
    config_file: str
    config: Mapping[str, Any]
    started: float
    finished: float
    outcome: str
    exit_code: int
    stage: str | None
    error: str | None
    seconds_by_stage: Mapping[str, float]
    embed: Mapping[str, Any] | None
    index: Mapping[str, Any] | None
    replaced: str | None
    collected: Mapping[str, int] | None
    dedupe: Mapping[str, Any] | None
    pareto: Sequence[Mapping[str, Any]]
    default: Mapping[str, int]
    places: ReportPlaces
    plot: bytes | None

    def to_json(self) -> dict[str, Any]:
        process = ProcessIdentity.own()
        return {
            "schema_version": SCHEMA_VERSION,
            "run": self.run,
            "config_file": self.config_file,
            "config": self.config,
            "host": process.host,
            "pid": process.pid,
            "started_at": _text(self.started),
            "finished_at": _text(self.finished),
            "seconds": round(self.finished - self.started, 3),
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "stage": self.stage,
            "error": self.error,
            "seconds_by_stage": self.seconds_by_stage,
            "counts": self._counts(),
            "embed": self.embed,
            "index": self.index,
            "replaced": self.replaced,
            "collected": self.collected,
            "dedupe": self.dedupe,
            "pareto": self.pareto,
            "default": self.default,
        }

    def _counts(self) -> dict[str, Any]:
        """Where the rows of the catalog went, as far as the run came."""
        embed, index = self.embed or {}, self.index or {}
        names = ("embedded", "reused", "rejected", "rejects_by_reason", "removed", "stale")
        found = {name: embed.get(name) for name in names}
        return {"input": embed.get("rows"), **found, "indexed": index.get("vectors")}


def write_report(report: RunReport) -> None:
    """Stores a report, its page, and both once more as the latest."""
    value = report.to_json()
    data, page = canonical_json.dump(value), report_page(value, report.plot).encode()
    for url, content in (
        (report.places.report, data),
        (report.places.page, page),
        (storage.join(report.places.folder, "latest.json"), data),
        (storage.join(report.places.folder, "latest.html"), page),
    ):
        storage.write(url, content)


def _text(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
