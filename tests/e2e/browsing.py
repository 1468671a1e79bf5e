"""A dashboard in its own process, and a browser page that remembers what must not happen."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.free_port import free_port

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

needs_a_browser = [
    pytest.mark.e2e,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: {CHROMIUM} is absent"),
]

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=60_000)


class Served:
    """A dashboard process on a store folder; can be killed and started again on the same port."""

    def __init__(self, store: Path, **more: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DESK_")},
            "DESK_STORE": str(store),
            "DESK_DASHBOARD_PORT": str(self.port),
            "DESK_AUTH": "off",
            **more,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        code = "from dashboards.app import serve; from resources.settings import load_settings; serve(load_settings())"
        self._process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=self._environment)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server ended at its start"
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/boot", timeout=1):
                return
            time.sleep(0.1)
        raise AssertionError("the server did not answer within 120 s")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Watched:
    """A page that remembers what must not happen: console errors and requests to other hosts."""

    def __init__(self, browser: Any, viewport: dict[str, int], **context: Any) -> None:
        self.context = browser.new_context(viewport=viewport, accept_downloads=True, **context)
        self.context.set_default_timeout(90_000)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", request.url):
            self.outside.append(request.url)

    def open(self, url: str) -> Any:
        self.page.goto(url)
        expect(self.page.locator("body.alive")).to_be_attached(timeout=90_000)
        return self.page

    def clean(self) -> None:
        assert self.errors == []
        assert self.outside == []


def no_overflow(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wider = page.evaluate(
        """() => {
            const board = document.querySelector("main [data-root-id]").firstElementChild.shadowRoot
            const right = (card) => card.getBoundingClientRect().right
            return [...board.querySelectorAll(".card")].filter((card) => right(card) > innerWidth).length
        }"""
    )
    assert wider == 0
