from __future__ import annotations

import pytest

from catalog.errors import UsageError
from index_builder.publishing.verdict import GATES, Thresholds, Verdict, check_forced, force, nothing_to_compare


def test_only_a_refusal_that_nobody_overrode_stops_a_version() -> None:
    passed, refused = Verdict("overlap", True, 0.9, 0.5, ""), Verdict("count_drift", False, 0.4, 0.2, "")
    assert not passed.refuses
    assert refused.refuses
    assert not nothing_to_compare("overlap", "new").refuses
    forced = force([passed, refused], {"count_drift": "a new vendor", "overlap": "not asked for"})
    assert not any(each.refuses for each in forced)
    assert [each.forced for each in forced] == [None, "a new vendor"]


def test_a_verdict_is_read_as_it_was_written() -> None:
    for verdict in (
        Verdict("recall_drop", True, -0.01, -0.02, "says", (-0.03, 0.01)),
        nothing_to_compare("overlap", ""),
    ):
        assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize(
    ("gates", "reason", "said"),
    [
        (["recal"], "x", "--force recal: there is no such gate; the gates are: read_back, "),
        (["read_back"], "x", "--force read_back: a damaged version is never served"),
        (["overlap"], None, '--force overlap needs a --reason "…"'),
        (["overlap"], "  ", '--force overlap needs a --reason "…"'),
    ],
)
def test_what_cannot_be_overridden_is_told(gates: list[str], reason: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_forced(gates, reason)


def test_gates_are_overridden_with_a_reason() -> None:
    assert check_forced(["overlap", "count_drift"], " season ") == {"overlap": "season", "count_drift": "season"}
    assert check_forced([], None) == {}
    assert len(set(GATES)) == len(GATES)


def test_a_version_is_judged_as_it_was_when_it_was_built_unless_something_else_is_asked() -> None:
    recorded = {"overlap": 0.9, "count_drift": 0.01, "of_a_later_release": 1}
    assert Thresholds.of(recorded, count_drift=0.3) == Thresholds(overlap=0.9, count_drift=0.3)
    assert Thresholds.of({}) == Thresholds()
