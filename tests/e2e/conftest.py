"""The browser, the servers and the pages of the tests here.

``browsing`` is imported late: it skips whoever imports it where there is no playwright.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.browsing import Served, Watched


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.e2e.browsing import CHROMIUM, playwright

    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        yield launched
        launched.close()


@pytest.fixture
def served() -> Iterator["Callable[..., Served]"]:
    from tests.e2e.browsing import Served

    started: list[Served] = []

    def start(store: Path, **more: str) -> Served:
        started.append(Served(store, **more))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def watched(browser: Any) -> Iterator["Callable[..., Watched]"]:
    from tests.e2e.browsing import DESKTOP, Watched

    opened: list[Watched] = []

    def start(viewport: dict[str, int] = DESKTOP, **context: Any) -> Watched:
        opened.append(Watched(browser, viewport, **context))
        return opened[-1]

    yield start
    for page in opened:
        page.context.close()
