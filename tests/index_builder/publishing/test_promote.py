from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog import storage
from catalog.channel import Channel, Pointer, channel_url, read_channel, write_channel
from catalog.errors import ConflictError, IntegrityError, UsageError
from catalog.manifest import Manifest, manifest_url
from catalog.version_log import read_log
from index_builder.publishing import promote as promoting
from index_builder.publishing.marks import DELETING, Mark, change_marks, read_marks
from index_builder.publishing.promote import Request, promote, refusal, rollback, settle
from index_builder.publishing.publish import log_published, publish
from index_builder.publishing.verdict import Verdict
from index_builder.publishing.verify import find_version, verify
from tests.index_builder.publishing.made_versions import published_version, stored_version

PASSED = Verdict("overlap", True, 0.9, 0.5, "")
REFUSED = Verdict("overlap", False, 0.3, 0.5, "30.0% of the answers are given again, wanted at least 50.0%")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What the gates say, in place of asking them."""
    verdicts = [PASSED]
    monkeypatch.setattr(promoting, "ask_gates", lambda *given: list(verdicts))
    return verdicts


def served(root: str, channel: str = "prod") -> str | None:
    pointer = read_channel(root, channel).pointer
    return pointer.version if pointer is not None else None


def test_a_published_version_is_found_by_channel_and_by_name_and_is_intact(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    published_version(root, "v2")
    assert [entry.version for entry in read_log(root)] == ["v1", "v2"]
    assert find_version(root).version == "v2"
    assert verify(root, find_version(root)).version == "v2"
    assert verify(root, find_version(root, version="v1")).version == "v1"
    with pytest.raises(UsageError, match=r"has no version 'v3'; its versions are: v1, v2"):
        find_version(root, version="v3")
    with pytest.raises(UsageError, match=r"has no channel 'canary'; its channels are: candidate, prod"):
        find_version(root, "canary")
    with pytest.raises(UsageError, match="nothing is published there"):
        find_version(str(tmp_path / "none"))


def test_publishing_again_changes_nothing_even_where_the_clock_has_moved(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    published_version(root, "v1", created_at="2027-01-01T00:00:00+00:00")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_a_version_that_passes_moves_the_channel_and_candidate(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    pointer = published_version(root, "v2", None)
    promotion = promote(root, pointer, Request("prod"))
    assert (promotion.moved, promotion.came_from, promotion.refused) == (True, "v1", [])
    assert (served(root), served(root, "candidate")) == ("v2", "v2")
    again = promote(root, pointer, Request("prod"))
    assert (again.moved, again.came_from) == (False, "v2")
    assert len(read_channel(root, "prod").moves) == 2


def test_a_refused_version_is_left_on_candidate_and_the_error_tells_what_to_do(
    tmp_path: Path, said: list[Verdict]
) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    said[:] = [PASSED, REFUSED]
    promotion = promote(root, published_version(root, "v2", None), Request("prod"))
    assert not promotion.moved
    assert (served(root), served(root, "candidate")) == ("v1", "v2")
    error = refusal(promotion, "gs://bucket/my artifacts", "shop")
    assert error.exit_code == 3
    assert str(error) == (
        "version v2 was refused and is left on channel candidate; prod stays on version v1; gate overlap: 30.0% of the "
        "answers are given again, wanted at least 50.0%; to promote it all the same: catalog-indexer promote "
        "--artifacts 'gs://bucket/my artifacts' --name shop --version v2 --channel prod --force overlap --reason \"…\""
    )


def test_a_damaged_version_is_not_even_a_candidate(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    said[:] = [
        Verdict("read_back", False, 0, 4, "index.faiss is damaged"),
        Verdict("fresh_process", False, None, None, ""),
    ]
    promotion = promote(root, published_version(root, "v2", None), Request("prod"))
    assert (served(root), served(root, "candidate")) == ("v1", "v1")
    assert str(refusal(promotion, "a", "shop")) == (
        "version v2 was refused; gate read_back: index.faiss is damaged; no channel moved"
    )


def test_what_was_forced_is_recorded_with_the_move(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    said[:] = [Verdict("overlap", False, 0.3, 0.5, "", forced="the summer catalog")]
    promote(root, published_version(root, "v2", None), Request("prod", forced={"overlap": "the summer catalog"}))
    move = read_channel(root, "prod").moves[-1]
    assert (move.version, move.came_from, move.forced) == ("v2", "v1", {"overlap": "the summer catalog"})
    assert "@" in move.by


def test_candidate_asks_no_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    monkeypatch.setattr(promoting, "ask_gates", lambda *given: pytest.fail("a gate was asked"))
    promotion = promote(root, published_version(root, "v1", None), Request("candidate"))
    assert promotion.moved
    assert served(root, "candidate") == "v1"


def test_a_damaged_manifest_is_never_promoted(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    pointer = published_version(root, "v2", None)
    url = manifest_url(root, "v2")
    storage.write(url, storage.read_bytes(url).replace(b'"vectors": 1000', b'"vectors": 1001'))
    with pytest.raises(IntegrityError, match=r"manifest.json is damaged: its sha256 is not the published one"):
        promote(root, pointer, Request("prod"))
    assert (served(root), served(root, "candidate")) == ("v1", "v1")


def test_a_channel_that_moved_while_the_gates_were_asked_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    second, third = published_version(root, "v2", None), published_version(root, "v3", None)

    def slow_gates(*given: Any) -> list[Verdict]:
        write_channel(root, read_channel(root, "prod").promoted(third, {}))
        return [PASSED]

    monkeypatch.setattr(promoting, "ask_gates", slow_gates)
    with pytest.raises(ConflictError, match="prod was moved to version v3 by another publisher"):
        promote(root, second, Request("prod"))
    assert served(root) == "v3"


def judged(root: str, name: str, parent: str | None, verdicts: list[Verdict]) -> tuple[Manifest, Pointer]:
    manifest = stored_version(root, name, parent=parent, gates=[each.to_json() for each in verdicts])
    return publish(root, manifest)


def test_a_build_is_settled_by_the_verdicts_in_its_manifest(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert settle(root, *judged(root, "v1", None, [PASSED]), Request("prod")).moved
    assert served(root) == "v1"
    promotion = settle(root, *judged(root, "v2", "v1", [REFUSED]), Request("prod"))
    assert ([each.gate for each in promotion.refused], served(root), served(root, "candidate")) == (
        ["overlap"],
        "v1",
        "v2",
    )


def test_a_build_that_was_compared_with_another_version_than_the_channel_has_now_is_not_settled(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    made = judged(root, "v2", "v1", [PASSED])
    published_version(root, "v3")
    with pytest.raises(ConflictError, match="prod was moved to version v3 by another publisher while version v2 was"):
        settle(root, *made, Request("prod"))
    assert (served(root), served(root, "candidate")) == ("v3", "v3")


def test_a_slower_builder_of_a_version_that_was_taken_back_does_not_bring_it_back(
    tmp_path: Path, said: list[Verdict]
) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    made = judged(root, "v2", "v1", [PASSED])
    assert settle(root, *made, Request("prod")).moved
    rollback(root, "prod", reason="wrong prices")
    said[:] = [Verdict("rolled_back", False, None, None, "was taken back")]
    assert not settle(root, *made, Request("prod")).moved  # The gates are asked anew.
    assert served(root) == "v1"


def test_candidate_does_not_go_back_by_itself(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    first = published_version(root, "v1")
    published_version(root, "v2")
    promote(root, first, Request("canary"))
    assert (served(root, "canary"), served(root, "candidate")) == ("v1", "v2")
    promote(root, first, Request("candidate"))
    assert served(root, "candidate") == "v1"


def test_a_build_for_candidate_passes_read_back_at_most_and_does_not_take_it_back(tmp_path: Path) -> None:
    root = str(tmp_path)
    older = judged(root, "v1", None, [REFUSED])
    newer = judged(root, "v2", None, [REFUSED])
    promotion = settle(root, *newer, Request("candidate"))
    assert (promotion.is_there, promotion.refused) == (True, [])
    promotion = settle(root, *older, Request("candidate"))
    assert (promotion.is_there, promotion.came_from, promotion.refused) == (False, "v2", [])
    unread = Verdict("read_back", False, 0, 4, "index.faiss is damaged")
    promotion = settle(root, *judged(root, "v3", None, [unread]), Request("candidate"))
    assert (promotion.is_there, [each.gate for each in promotion.refused]) == (False, ["read_back"])
    assert served(root, "candidate") == "v2"


def test_a_damaged_candidate_keeps_no_other_channel_from_moving(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    storage.write(channel_url(root, "candidate"), b"{}")
    assert promote(root, published_version(root, "v2", None), Request("prod")).moved
    assert served(root) == "v2"


def test_who_wanted_the_same_move_has_got_it(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    pointer = published_version(root, "v2", None)
    there = read_channel(root, "prod")
    promote(root, pointer, Request("prod"))
    write_channel(root, there.promoted(pointer, {}))
    assert [move.version for move in read_channel(root, "prod").moves] == ["v1", "v2"]


def test_a_rollback_that_was_too_late_is_told_as_one(tmp_path: Path, said: list[Verdict]) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    published_version(root, "v2")
    there = read_channel(root, "prod")
    promote(root, published_version(root, "v3", None), Request("prod"))
    with pytest.raises(ConflictError, match=r"prod was moved to version v3 .* and did not go back"):
        write_channel(root, there.rolled_back(None, ""))


def test_no_damaged_manifest_gets_into_the_log(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    url = manifest_url(root, "v1")
    whole = storage.read_bytes(url)
    storage.write(url, whole.replace(b'"vectors": 1000', b'"vectors": 1001'))
    with pytest.raises(IntegrityError, match=r"manifest.json is damaged: its sha256 is not that of its content"):
        log_published(root, "v1")
    assert len(read_log(root)) == 1


def test_a_manifest_over_files_that_are_gone_is_not_published(tmp_path: Path) -> None:
    root = str(tmp_path)
    manifest = stored_version(root, "v1")
    storage.delete(f"{root}/versions/v1/items.arrow")
    with pytest.raises(IntegrityError, match=r"items.arrow is missing; version v1 is not whole"):
        publish(root, manifest)
    assert read_log(root) == []
    assert not storage.exists(manifest_url(root, "v1"))


def test_rollback_is_one_write_whatever_the_size_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    published_version(root, "v2")
    done: list[tuple[str, str]] = []
    for name in ("read_bytes", "open_read", "read_with_token", "compare_and_swap", "create", "write", "put_file"):
        real = getattr(storage, name)
        monkeypatch.setattr(
            storage, name, lambda url, *more, name=name, real=real: (done.append((name, url)), real(url, *more))[1]
        )
    channel = rollback(root, "prod", reason="wrong prices")
    assert channel.pointer is not None
    assert channel.pointer.version == "v1"
    assert [name for name, _ in done if name in ("compare_and_swap", "create", "write", "put_file")] == [
        "compare_and_swap"
    ]
    assert not any(url.endswith((".faiss", ".arrow")) for _, url in done)
    assert len(done) < 6
    monkeypatch.undo()
    assert served(root) == "v1"
    assert read_channel(root, "prod").moves[-1].reason == "wrong prices"
    with pytest.raises(UsageError, match="channel prod has no earlier version"):
        rollback(root, "prod")
    assert served(root, "candidate") == "v2"
    with pytest.raises(UsageError, match=r"has no channel 'canary'; its channels are: candidate, prod"):
        rollback(root, "canary")


def test_a_rollback_to_a_version_that_is_gone_is_refused_and_names_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    published_version(root, "v2")
    storage.delete(manifest_url(root, "v1"))
    with pytest.raises(IntegrityError, match=r"v1/manifest.json is missing; version v1 was collected"):
        rollback(root, "prod")
    assert served(root) == "v2"


def test_a_version_that_becomes_needed_loses_its_mark_and_one_being_deleted_is_refused(
    tmp_path: Path, said: list[Verdict]
) -> None:
    root = str(tmp_path)
    published_version(root, "v1")
    pointer = published_version(root, "v2", None)
    since = "2026-01-01T00:00:00+00:00"
    change_marks(root, lambda marks: {"versions/v2": Mark(since), "versions/v0": Mark(since)})
    promote(root, pointer, Request("prod"))
    assert set(read_marks(root)[0]) == {"versions/v0"}
    third = published_version(root, "v3", None)
    change_marks(root, lambda marks: {"versions/v3": Mark(since, DELETING)})
    with pytest.raises(UsageError, match="version v3 is being deleted by gc; build it anew"):
        promote(root, third, Request("prod"))
    assert (served(root), served(root, "candidate")) == ("v2", "v2")


def test_a_channel_without_a_file_has_no_version() -> None:
    assert Channel("prod").pointer is None
