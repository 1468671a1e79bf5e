"""The web server: routes, login, one poller for each kind of document, and what runs beside the pages.

Beside the pages, which are behind the login, three addresses answer anybody: ``/theme/…`` (fonts, styles and script
of the shell, no data), ``/boot`` (a random id that changes with every start) and ``/healthz`` (whether a page can be
built; no data).
"""

import asyncio
import hashlib
import logging
import secrets
import time
from typing import Any

import panel as pn
from panel.io.application import build_applications
from tornado.web import RequestHandler, StaticFileHandler

from dashboards.auth import BcryptAuthProvider
from dashboards.page import THEME, Page, PageContext
from dashboards.pages.arbitrage import ArbitragePage
from dashboards.pages.desk import DeskPage
from dashboards.pages.quant import QuantPage
from dashboards.pages.telemetry import TelemetryPage
from dashboards.research_snapshot import ResearchPoller
from dashboards.snapshot import Poller
from dashboards.telemetry_snapshot import TelemetryPoller
from dashboards.trader_snapshot import TraderPoller
from resources.clock import Clock, SystemClock
from resources.feed import source_of
from resources.settings import Settings
from resources.store import Store, open_store

# The pages in the order of the bar: a new page is a module in ``pages`` and its class here.
PAGES: tuple[type[Page], ...] = (DeskPage, QuantPage, ArbitragePage, TelemetryPage)

REFRESH_SECONDS = 1.0
# Research decides once a day; a new decision is on the screen within four of these.
RESEARCH_REFRESH_SECONDS = 15.0

# A closed tab's session stops costing within these; longer than a reload takes, shorter than a lunch.
_SESSION_LIFETIME_MS = 10_000
_SESSION_CHECK_MS = 3_000
_HEALTH_CACHED_SECONDS = 5.0

_log = logging.getLogger(__name__)


class BootHandler(RequestHandler):
    """Which start of the server this is; a page from an earlier one reloads itself."""

    def initialize(self, boot_id: str) -> None:
        self._boot_id = boot_id

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write({"id": self._boot_id})


class HealthHandler(RequestHandler):
    """200 when the desk page can be built and the store answers, else 503. Built at most every five seconds."""

    def initialize(self, health: "Health") -> None:
        self._health = health

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        state = self._health.state()
        self.set_status(200 if all(state.values()) else 503)
        self.write(state)


class Health:
    """Really builds a page, because a server whose sessions all fail still answers requests."""

    def __init__(self, application: Any, poller: Poller) -> None:
        self._application = application
        self._poller = poller
        self._checked = float("-inf")
        self._page = False

    def state(self) -> dict[str, bool]:
        """``page``: a session could be made; ``store``: the last look at the store succeeded."""
        if time.monotonic() - self._checked > _HEALTH_CACHED_SECONDS:
            self._checked = time.monotonic()
            try:
                document = self._application.create_document()
                self._page = bool(document.roots)
                pn.io.document._cleanup_doc(document)  # type: ignore[no-untyped-call]
            except Exception:
                _log.exception("the desk page cannot be built")
                self._page = False
        return {"page": self._page, "store": not self._poller.snapshot.disconnected}


class ThemeHandler(StaticFileHandler):
    """The shell's files, allowed to be kept: their address carries their version."""

    def set_extra_headers(self, path: str) -> None:
        if "v" in self.request.arguments or path.endswith(".woff2"):
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")


def theme_version() -> str:
    """Changes with any file of the theme."""
    files = sorted(path for path in THEME.rglob("*") if path.suffix in (".css", ".js", ".svg", ".woff2"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def create_app(settings: Settings, store: Store, clock: Clock) -> Any:
    """The server, listening but not yet started: call ``start()`` and run its ``io_loop``.

    Raises AuthMisconfigured when a login is asked for and cannot be enforced.
    """
    version = theme_version()
    more: dict[str, Any] = {}
    if settings.auth != "off":
        more = {"auth_provider": BcryptAuthProvider(settings, version), "cookie_secret": settings.cookie_secret}
    poller, research = Poller(store, clock), ResearchPoller(store, clock, settings)
    feed = source_of(settings)
    trader, telemetry = TraderPoller(store, clock, feed), TelemetryPoller(store, clock, feed)
    context = PageContext(
        settings=settings,
        clock=clock,
        poller=poller,
        research=research,
        trader=trader,
        telemetry=telemetry,
        boot_id=secrets.token_hex(8),
        theme_version=version,
        nav=[(page.title, page.route) for page in PAGES],
    )
    pages = [page(context) for page in PAGES]
    applications = build_applications(
        {page.route: page.template for page in pages}, title={page.route: page.title for page in pages}, location=False
    )
    server = pn.io.server.get_server(
        applications,  # type: ignore[arg-type]
        port=settings.dashboard_port,
        address=settings.host,
        websocket_origin=_origins(settings),
        location=False,
        use_xheaders=settings.behind_proxy,
        extra_patterns=[
            (r"/theme/(.+\.(?:css|js|svg|woff2))", ThemeHandler, {"path": str(THEME)}),
            (r"/boot", BootHandler, {"boot_id": context.boot_id}),
            (r"/healthz", HealthHandler, {"health": Health(applications[DeskPage.route], poller)}),
        ],
        unused_session_lifetime_milliseconds=_SESSION_LIFETIME_MS,
        check_unused_sessions_milliseconds=_SESSION_CHECK_MS,
        **more,
    )
    for each in (poller, trader, telemetry):
        server.io_loop.add_callback(_poll, each, REFRESH_SECONDS)
    server.io_loop.add_callback(_poll, research, RESEARCH_REFRESH_SECONDS)
    return server


async def _poll(poller: Poller | ResearchPoller | TraderPoller | TelemetryPoller, seconds: float) -> None:
    # The task is kept by the loop only weakly, so it is held here for as long as the server runs.
    await asyncio.ensure_future(poller.run(seconds))


def _origins(settings: Settings) -> list[str]:
    """Who may open the websocket: the address served, by its names, and the public one behind a proxy."""
    port = settings.dashboard_port
    hosts = dict.fromkeys((settings.host, "localhost", "127.0.0.1"))
    named = [f"[{host}]" if ":" in host else host for host in hosts]
    return [f"{host}:{port}" for host in named] + ([settings.public_origin] if settings.public_origin else [])


def serve(settings: Settings) -> None:
    """Serve the dashboard until interrupted."""
    store = open_store(settings.store)
    server = create_app(settings, store, SystemClock())
    server.start()
    server.io_loop.start()
