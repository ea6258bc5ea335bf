"""What became of a night, for whoever started it: a summary, an exit code, a sentence. Read without importing Beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from catalog import storage
from catalog.errors import CatalogIndexerError, meant_for_user
from catalog.extras import explain_missing

if TYPE_CHECKING:
    from index_builder.publishing.collect import Fate
    from pipelines.embed import EmbedSummary
    from pipelines.index import IndexSummary

_OUTCOMES = {0: "done", 3: "refused"}
_NOT_BEGUN = {2: "wrong", 4: "locked"}


@dataclass(frozen=True)
class Collected:
    """How many versions and leftovers of builds were deleted, wait for the end of their grace, and were marked now; and
    the bytes of those that were deleted."""

    deleted: int
    waiting: int
    marked: int
    bytes: int

    @classmethod
    def of(cls, fates: Sequence[Fate]) -> Collected:
        """Counted by what became of them."""
        from index_builder.publishing.collect import DELETED, MARK, WAIT

        gone = [each for each in fates if each.step == DELETED]
        waiting, marked = (sum(each.step == step for each in fates) for step in (WAIT, MARK))
        return cls(len(gone), waiting, marked, sum(each.bytes or 0 for each in gone))


@dataclass(frozen=True)
class NightSummary:
    """What a night did; the fields of its `--json` line but `error`, which is told as its sentence.

    Attributes:
        run: its name; None for one that did not begin.
        outcome: `done`, `refused` by a gate, or `failed`; of one that did not begin `locked`, `wrong` or `failed`.
        exit_code: of the command.
        embed: what the first job did, None if it did not end.
        index: what the second one did, None if it did not end.
        collected: what became of what nothing needs, None where nothing was asked for or it did not come so far.
        dedupe: what the report of duplicates says, None where none was asked for or it did not end.
        report: URL of the report, and `page` of its page for people; None where there is none.
        error: what stopped it.
    """

    run: str | None
    outcome: str
    exit_code: int
    embed: EmbedSummary | None
    index: IndexSummary | None
    collected: Collected | None
    dedupe: dict[str, Any] | None
    report: str | None
    page: str | None
    seconds: float
    error: Exception | None = None

    @classmethod
    def not_begun(cls, error: Exception) -> NightSummary:
        """Of a night that another one, or its own configuration, kept from beginning."""
        code = exit_code(error)
        return cls(None, _NOT_BEGUN.get(code, "failed"), code, None, None, None, None, None, None, 0.0, error)

    def to_json(self) -> dict[str, Any]:
        value = {name: found for name, found in vars(self).items() if name != "error"}
        jobs = {
            name: asdict(value[name]) if value[name] is not None else None for name in ("embed", "index", "collected")
        }
        return {**value, **jobs, "error": sentence(self.error) if self.error is not None else None}


def outcome(error: BaseException | None) -> str:
    """Of a night that began: `done`, `refused` or `failed`."""
    return _OUTCOMES.get(exit_code(error), "failed")


def exit_code(error: BaseException | None) -> int:
    """What a scheduler is told: 0 done, 1 failed, 2 the configuration is wrong, 3 a gate refused, 4 another run is
    under way."""
    if error is None:
        return 0
    said = _said(error)
    return said.exit_code if said is not None else 1


def sentence(error: BaseException) -> str:
    """What went wrong, without secrets."""
    said = _said(error)
    return storage.redact_text(str(said) if said is not None else f"{type(error).__name__}: {error}")


def _said(error: BaseException) -> CatalogIndexerError | None:
    return explain_missing(error) if isinstance(error, ModuleNotFoundError) else meant_for_user(error)
