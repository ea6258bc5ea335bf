from __future__ import annotations

import sys

import pytest

from catalog.errors import MissingExtraError
from catalog.extras import explain_missing, require


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("faiss", r"pip install '\.\[cpu\]' or pip install '\.\[gpu\]'"),
        ("tensorflow", r"pip install '\.\[pipeline\]'"),
    ],
)
def test_a_missing_package_is_answered_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, module: str, command: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"{module} is not installed: run {command} in a checkout of "):
        require(module)


def test_a_module_of_no_extra_is_a_defect_and_not_explained() -> None:
    with pytest.raises(ModuleNotFoundError) as raised:
        require("no_such_module_at_all")
    assert explain_missing(raised.value) is None


def test_two_distributions_of_faiss_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from catalog.errors import UsageError
    from index_builder import faiss_import

    monkeypatch.setattr(faiss_import, "_is_installed", lambda name: name in ("faiss-cpu", "faiss-gpu"))
    faiss_import.faiss.cache_clear()
    with pytest.raises(UsageError, match="faiss-cpu and faiss-gpu are installed together"):
        faiss_import.faiss()
