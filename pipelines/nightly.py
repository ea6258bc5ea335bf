"""A night: embed, index, gates, publishing and a report, one at a time for an artifact.

The stages are the jobs `embed` and `index`, which go on from where a killed run left them; so does a night.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog.channel import read_channel
from catalog.errors import CatalogIndexerError
from catalog.lease import Lease, holding
from catalog.manifest import Manifest, artifact_root, read_manifest
from index_builder.publishing.collect import collect
from index_builder.publishing.promote import refusal
from index_builder.publishing.verify import read_verified
from pipelines.embed import EmbedSummary, embed
from pipelines.index import IndexSummary, run_index
from pipelines.night_summary import Collected, NightSummary, exit_code, outcome, sentence
from pipelines.nightly_config import NightlyConfig, naming
from pipelines.nightly_dedupe import dedupe_night
from pipelines.progress import Progress
from pipelines.run_report import ReportPlaces, RunReport, write_report

# Seconds that an interrupted run waits for the store to take the lock back.
_LONGEST_FAREWELL = 10.0


@dataclass
class _Night:
    """A night under way."""

    config: NightlyConfig
    say: Callable[[str], None]
    progress: Callable[[Progress], None]
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    stage: str = "embed"
    seconds: dict[str, float] = field(default_factory=dict)
    embedded: EmbedSummary | None = None
    indexed: IndexSummary | None = None
    collected: Collected | None = None
    deduped: dict[str, Any] | None = None

    def work(self, lease: Lease) -> None:
        """All stages. Raises whatever stops them."""
        config = self.config
        with self._stage("embed"), naming(config.where, "embed"):
            self.embedded = embed(config.embed, self.say, self.progress)
            unread = self.embedded.rejected + self.embedded.stale
            if config.fail_on_rejects is not None and unread > config.fail_on_rejects:
                raise CatalogIndexerError(
                    f"{unread:,} rows were rejected or could not be read for now, embed.fail_on_rejects is "
                    f"{config.fail_on_rejects:,}; snapshot {self.embedded.snapshot} is written and was not indexed"
                )
        with self._stage("index"), naming(config.where, "index"):
            # Asked of the store: a machine that stood still may have lost the lock without knowing it.
            lease.renew()
            self.indexed, promotion = run_index(config.index, self.say, self.progress, lease.renew)
            if promotion.refused:
                raise refusal(promotion, config.index.artifacts, config.index.name)
        if config.retention is not None:
            with self._stage("retain"):
                lease.renew()
                root = artifact_root(config.index.artifacts, config.index.name)
                self.collected = Collected.of(collect(root, config.retention, delete=True))

        if config.dedupe is not None:
            with self._stage("dedupe"):
                lease.renew()
                try:
                    self.deduped = dedupe_night(config.dedupe, self.say)
                except Exception as error:
                    # What was published stays so, whatever is wrong here: a failure, and no refusal.
                    raise CatalogIndexerError(
                        f"version {self.indexed.version} is published, and dedupe failed: {sentence(error)}"
                    ) from None

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self.stage, started = name, time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)

    def report(self, places: ReportPlaces, started: float, error: Exception | None) -> RunReport:
        """What became of it."""
        root = artifact_root(self.config.index.artifacts, self.config.index.name)
        manifest, plot, replaced = None, None, None
        # A report is written without them, too.
        with contextlib.suppress(OSError, CatalogIndexerError):
            if self.indexed is not None:
                replaced = _replaced(root, self.indexed)
                manifest = read_manifest(root, self.indexed.version)
                plot = _plot(root, manifest)
        return RunReport(
            run=self.run,
            config_file=self.config.where,
            config=self.config.settings,
            started=started,
            finished=time.time(),
            outcome=outcome(error),
            exit_code=exit_code(error),
            stage=self.stage if error is not None else None,
            error=sentence(error) if error is not None else None,
            seconds_by_stage=self.seconds,
            embed=asdict(self.embedded) if self.embedded is not None else None,
            index=asdict(self.indexed) if self.indexed is not None else None,
            replaced=replaced,
            collected=asdict(self.collected) if self.collected is not None else None,
            dedupe=self.deduped,
            pareto=manifest.pareto if manifest is not None else [],
            default=manifest.search if manifest is not None else {},
            places=places,
            plot=plot,
        )


def nightly(
    config: NightlyConfig,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> NightSummary:
    """Runs a night and writes its report, also of one that fails or is refused: `error` has what stopped it.

    Args:
        config: the night.
        say: told one line at each step.
        progress: told how far a job is.

    Raises:
        LockedError: another night of the same artifact is under way; nothing was done and there is no report.
    """
    started, clock = time.time(), time.monotonic()
    night = _Night(config, say, progress)
    lease = Lease(config.lock, night.run, config.lease)
    with _given_back_when_interrupted(lease), holding(lease, say):
        say(f"run {night.run} of {config.where}")
        stopped: Exception | None = None
        try:
            night.work(lease)
        except Exception as error:
            stopped = error
        places = ReportPlaces.of(config.reports, night.run, started)
        report = night.report(places, started, stopped)
        try:
            write_report(report)
        except (OSError, CatalogIndexerError) as error:
            said = f"the report was not written: {sentence(error)}"
            say(said)
            stopped = stopped or CatalogIndexerError(f"all else is done, and {said}")
    return NightSummary(
        night.run,
        outcome(stopped),
        exit_code(stopped),
        night.embedded,
        night.indexed,
        night.collected,
        night.deduped,
        places.report,
        places.page,
        round(time.monotonic() - clock, 3),
        stopped,
    )


def _plot(root: str, manifest: Manifest) -> bytes | None:
    """The version's picture of its recall."""
    entry = manifest.file("plot")
    return read_verified(root, manifest.version, entry) if entry is not None else None


def _replaced(root: str, indexed: IndexSummary) -> str | None:
    """The version that the channel pointed to before it moved to this one, in this run or in one that was killed."""
    if not indexed.promoted:
        return None
    moves = [each for each in read_channel(root, indexed.channel).moves if each.version == indexed.version]
    return moves[-1].came_from if moves else None


@contextlib.contextmanager
def _given_back_when_interrupted(lease: Lease) -> Iterator[None]:
    """Ends the process at once when it is interrupted or told to end, and gives the lock back before: the next run may
    be on a machine that cannot know of the end of this one."""

    def stop(number: int, frame: object) -> None:
        # In a thread, for this one may be in the middle of renewing.
        farewell = threading.Thread(target=lease.release, daemon=True)
        farewell.start()
        farewell.join(_LONGEST_FAREWELL)
        # Not by `say`, in the middle of which this may have come.
        os.write(2, f"\n{signal.Signals(number).name}: interrupted; the same command goes on from here\n".encode())
        os._exit(1)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    from pipelines.standalone import main

    raise SystemExit(main("nightly"))
