"""What a page view, fifty viewers and five years of minutes cost. Run it on a quiet machine.

The server runs in its own process on labelled test data; its CPU time is read from /proc, so other work on the
machine disturbs the times but not the CPU figures.
"""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bokeh.document import Document
from bokeh.document.events import MessageSentEvent
from bokeh.events import DocumentReady
from bokeh.protocol import Protocol
from playwright.sync_api import Page, sync_playwright
from tornado.websocket import websocket_connect

from tests.dashboards.desk_folder import DeskFolder
from tests.free_port import free_port

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
VIEWERS = 50
FIVE_YEARS = 2_628_000

# Serves with a store that counts its reads; these and the boards alive go into the file named by COUNTS.
SERVER = """
import gc, itertools, os, threading, time
from pathlib import Path
import dashboards.app as app
from dashboards.components.board import Board
from resources.settings import load_settings
from resources.clock import SystemClock
from resources.store import open_store

class Counting:
    def __init__(self, inner): self._inner, self.reads = inner, 0
    def read(self, *args, **more):
        self.reads += 1
        return self._inner.read(*args, **more)
    def __getattr__(self, name): return getattr(self._inner, name)

settings = load_settings()
store = Counting(open_store(settings.store))
def report():
    for second in itertools.count():
        if second % 15 == 0:  # a walk over everything alive is dear
            boards = sum(isinstance(thing, Board) for thing in gc.get_objects())
        Path(os.environ["COUNTS"]).write_text(f"{store.reads} {boards}")
        time.sleep(1)
threading.Thread(target=report, daemon=True).start()
server = app.create_app(settings, store, SystemClock())
server.start()
server.io_loop.start()
"""


class Server:
    """A dashboard process on ``store``."""

    def __init__(self, store: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._counts = store.with_name(f"reads-{port}")
        environment = {
            **os.environ,
            "DESK_STORE": str(store),
            "DESK_DASHBOARD_PORT": str(port),
            "DESK_AUTH": "off",
            "COUNTS": str(self._counts),
        }
        self._process = subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT, env=environment)
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/boot"):
                break
            if self._process.poll() is not None:
                raise RuntimeError(f"the dashboard ended with status {self._process.returncode}")
            time.sleep(0.1)

    def cpu(self) -> float:
        """User plus system seconds used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def counts(self) -> tuple[int, int]:
        """Store reads so far, and boards alive in the process."""
        reads, boards = (self._counts.read_text() if self._counts.exists() else "").split() or (0, 0)
        return int(reads), int(boards)

    def get(self) -> bytes:
        with urllib.request.urlopen(f"{self.url}/") as answer:
            body: bytes = answer.read()
        return body

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def page_views(server: Server, count: int = 40) -> tuple[float, int]:
    """CPU milliseconds of one page view (request to first document), and bytes of the HTML."""
    for _ in range(3):
        server.get()
    before, size = server.cpu(), 0
    for _ in range(count):
        size = len(server.get())
    return (server.cpu() - before) / count * 1000, size


async def _viewer(server: Server, stop: asyncio.Event) -> int:
    """A browser reduced to its websocket; returns the bytes received."""
    html = (await asyncio.to_thread(server.get)).decode()
    token = re.search(r'"token":"([^"]+)"', html)
    assert token is not None
    received = 0
    greeted = asyncio.Event()

    def take(message: str | bytes | None) -> None:
        nonlocal received
        received += len(message or "")
        greeted.set()

    address = server.url.replace("http", "ws") + "/ws"
    connection = await websocket_connect(address, subprotocols=["bokeh", token[1]], on_message_callback=take)
    await greeted.wait()
    # Panel holds changes back until the page says that it has drawn itself.
    ready = Protocol().create("PATCH-DOC", [MessageSentEvent(Document(), "bokeh_event", DocumentReady())])
    for fragment in (ready.header_json, ready.metadata_json, ready.content_json):
        await connection.write_message(fragment)
    await stop.wait()
    connection.close()
    return received


async def viewers(server: Server, seconds: float = 20.0) -> tuple[float, float, float]:
    """Share of one core, store reads a second and bytes a second and viewer, with all viewers connected."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_viewer(server, stop)) for _ in range(VIEWERS)]
    await asyncio.sleep(VIEWERS * 0.25)
    cpu, reads, started = server.cpu(), server.counts()[0], time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - started
    cpu, reads = server.cpu() - cpu, server.counts()[0] - reads
    stop.set()
    received = sum(await asyncio.gather(*tasks))
    return cpu / passed, reads / passed, received / VIEWERS / (passed + VIEWERS * 0.25)


_DRAWN = """() => {
    const line = window.Bokeh?.documents?.[0]?.get_model_by_name("line")
    return line && line.data_source.get_length() > 100 && document.body.classList.contains("alive")
}"""


def drawing(server: Server, rounds: int = 6) -> tuple[float, list[float], list[int], int]:
    """Seconds to the first draw (best of three cold contexts), milliseconds and bytes of each zoom, points drawn."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        first_draws = []
        for _ in range(3):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            frames: list[int] = []
            page.on("websocket", lambda ws, frames=frames: ws.on("framereceived", lambda m: frames.append(len(m))))
            started = time.monotonic()
            page.goto(f"{server.url}/?range=All")
            page.wait_for_function(_DRAWN, polling=10)
            first_draws.append(time.monotonic() - started)
        times, sizes = _zooms(page, frames, rounds)
        points = page.evaluate('window.Bokeh.documents[0].get_model_by_name("line").data_source.get_length()')
        browser.close()
    return min(first_draws), times, sizes, points


_WATCH = """() => {
    const {data_source} = window.Bokeh.documents[0].get_model_by_name("line")
    window.zoomed = []
    let turned = 0
    window.addEventListener("wheel", () => { turned = performance.now() }, {capture: true, passive: true})
    data_source.properties.data.change.connect(() => {
        requestAnimationFrame(() => window.zoomed.push(performance.now() - turned))
    })
}"""


def _zooms(page: Page, frames: list[int], rounds: int) -> tuple[list[float], list[int]]:
    """From the wheel's event to the frame that shows the refilled line; bytes from the server meanwhile."""
    box = page.locator(".plot").bounding_box()
    assert box is not None
    page.evaluate(_WATCH)
    page.mouse.move(box["x"] + 500, box["y"] + 80)
    sizes = []
    for done in range(1, rounds + 1):
        page.wait_for_timeout(400)
        seen = len(frames)
        page.mouse.wheel(0, -240)
        page.wait_for_function("(done) => window.zoomed.length >= done", arg=done)
        page.wait_for_timeout(100)
        sizes.append(sum(frames[seen:]))
    return page.evaluate("window.zoomed"), sizes


Row = tuple[str, str, str]


def small_desk(store: Path) -> Iterator[Row]:
    """A week of data: page views, then many viewers, then what they leave behind."""
    with Server(store) as server:
        time.sleep(3)
        cost, size = page_views(server)
        yield "server CPU per page view", f"{cost:.0f} ms", "<= 120 ms"
        yield "first document (HTML)", f"{size / 1000:.1f} KB", "<= 100 KB"
        core, reads, bandwidth = asyncio.run(viewers(server))
        yield f"{VIEWERS} viewers, share of one core", f"{core:.1%}", "<= 30 %"
        yield f"{VIEWERS} viewers, store reads per second", f"{reads:.2f}", "<= 1, one per refresh"
        yield f"{VIEWERS} viewers, bytes per second each", f"{bandwidth:.0f}", ""
        time.sleep(40)
        yield "boards alive 40 s after they left", str(server.counts()[1]), "0"


def five_years(store: Path) -> Iterator[Row]:
    """Every minute of five years: start, first draw and zooms in a real browser."""
    with Server(store) as server:
        started = time.monotonic()
        days = FIVE_YEARS // 1440
        while server.counts()[0] < days and time.monotonic() - started < 120:
            time.sleep(0.2)
        yield "five years, history loaded after", f"{time.monotonic() - started:.1f} s", ""
        time.sleep(3)
        first, times, sizes, points = drawing(server)
        yield "five years, first draw", f"{first:.2f} s", "<= 1.0 s"
        yield "five years, zoom (median, worst)", f"{statistics.median(times):.0f}, {max(times):.0f} ms", "<= 120 ms"
        yield "five years, bytes per zoom (worst)", f"{max(sizes) / 1000:.1f} KB", "<= 60 KB"
        yield "five years, points drawn", str(points), ""


def measure(fast: bool = False) -> list[Row]:
    """(what, figure, target) of both desks; ``fast`` leaves the minute with many viewers out."""
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        now = datetime.now(UTC)
        rows: list[Row] = []
        if not fast:
            week = Path(scratch) / "week"
            DeskFolder(week, now, minutes=7 * 1440).build()
            rows += small_desk(week)
        years = Path(scratch) / "years"
        DeskFolder(years, now, minutes=FIVE_YEARS, volatility=0.00002).build()
        rows += five_years(years)
    return [*rows, ("load before and after, cores", f"{busy:.1f}, {os.getloadavg()[0]:.1f}, {os.cpu_count()}", "")]
