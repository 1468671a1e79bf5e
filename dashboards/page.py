"""What every page is given and what it must give: a title, a route and the body of one session.

A page is a class in ``dashboards.pages``, made once a process; its state of one viewer lives in what ``body``
builds and nowhere else, so that closing the tab frees it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import panel as pn

from dashboards.components.pills import market_source
from dashboards.research_snapshot import ResearchPoller
from dashboards.snapshot import Poller
from dashboards.telemetry_snapshot import TelemetryPoller
from dashboards.theme.tokens import custom_properties
from dashboards.trader_snapshot import TraderPoller
from resources.clock import Clock
from resources.settings import Settings

THEME = Path(__file__).parent / "theme"

# Half the silence after which the page calls the connection lost.
BEAT_MS = 2000

_LOOK_MS = 1000
_SHELL = jinja2.Template((THEME / "template.html").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class PageContext:
    """Shared by all pages of a process. ``boot_id`` differs after every restart; ``theme_version`` after a change
    of the theme's files. ``nav`` holds (title, route) of the pages served, in order."""

    settings: Settings
    clock: Clock
    poller: Poller
    research: ResearchPoller
    trader: TraderPoller
    telemetry: TelemetryPoller
    boot_id: str
    theme_version: str
    nav: list[tuple[str, str]] = field(default_factory=list)

    def now_ms(self) -> int:
        """The desk's clock as the browser counts time."""
        return round(self.clock.now().timestamp() * 1000)


class Page(ABC):
    """One route. Subclasses set ``title`` and ``route`` (one segment, or ``/``)."""

    title: ClassVar[str]
    route: ClassVar[str]

    def __init__(self, context: PageContext) -> None:
        self.context = context

    @abstractmethod
    def body(self) -> pn.viewable.Viewable:
        """The single component of a session: one Bokeh root."""

    def template(self) -> pn.Template:
        """A session's page: the shell around ``body``."""
        context = self.context
        shell = pn.Template(_SHELL, design=pn.theme.Native)
        shell.add_panel("body", self.body())
        shown: dict[str, Any] = {
            "page_title": self.title,
            "route": self.route,
            "nav": context.nav,
            "source": self.source(),
            "auth": context.settings.auth != "off",
            "palette": custom_properties(),
            "theme_version": context.theme_version,
            "boot": json.dumps({"id": context.boot_id, "now": context.now_ms()}),
        }
        for name, value in shown.items():
            shell.add_variable(name, value)
        return shell

    def source(self) -> str | None:
        """Where the numbers of this page come from, shown beside its title; None while there are none."""
        return market_source(self.context.poller.snapshot)

    def query(self) -> dict[str, str]:
        """The first value of each parameter in the address of this session."""
        return {name: values[0].decode(errors="replace") for name, values in pn.state.session_args.items()}

    def every_second(self, refresh: Callable[[], None]) -> None:
        """Call ``refresh`` each second of this session's life, its changes sent as one message."""

        def held() -> None:
            with pn.io.hold():
                refresh()

        pn.state.add_periodic_callback(held, period=_LOOK_MS)
