"""A browser for the tests of the gallery, and reports that are opened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dedupe.gallery.write_gallery import write_gallery
from tests.conftest import absent
from tests.dedupe.gallery.chromium import Chromium, find_chromium
from tests.dedupe.gallery.reports import Report


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all tests of a process."""
    program = find_chromium()
    if program is None:
        absent("Chromium ($CATALOG_CHROMIUM, .tools/bin or the PATH)")
        raise AssertionError
    with Chromium(program, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def chromium(browser: Chromium) -> Chromium:
    """The browser, of a desktop's width, remembering nothing of the test before."""
    browser.call("Page.navigate", url="about:blank")
    browser.call("Network.clearBrowserCache")
    browser.resize(1_200)
    browser.forget()
    return browser


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Report], Path]:
    """Writes a report's gallery into a folder of the test."""

    def write(report: Report) -> Path:
        write_gallery(str(tmp_path / "report"), report.contents())
        return tmp_path / "report"

    return write
