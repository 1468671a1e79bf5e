"""Pages whose board has several parts, each sent to the browser only when it changed."""

from abc import abstractmethod
from typing import Any, ClassVar, Generic

import panel as pn

from dashboards.components.board import ScriptedBoard
from dashboards.live_poller import Snapshot
from dashboards.page import BEAT_MS, Page, PageContext

Parts = dict[str, dict[str, Any]]


class PartsPage(Page, Generic[Snapshot]):
    """Subclasses set ``board``, whose parameters are the parts, and say what they show."""

    board: ClassVar[type[ScriptedBoard]]

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._stated: tuple[int, Parts] = (-1, {})

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """What is shown now."""

    @abstractmethod
    def parts(self, snapshot: Snapshot) -> Parts:
        """Everything the board shows of it by its parts, as texts and numbers that survive JSON."""

    def source(self) -> str | None:
        """The source of what is shown, which is not the desk's market."""
        return self.snapshot().source

    def body(self) -> pn.viewable.Viewable:
        """One session's board."""
        return _Session(self).board

    def state(self, snapshot: Snapshot) -> Parts:
        """``parts`` of the snapshot, computed once a version for all sessions; what did not change stays the same
        object."""
        version, stated = self._stated
        if version != snapshot.version:
            new = self.parts(snapshot)
            stated = {name: stated[name] if stated.get(name) == part else part for name, part in new.items()}
            self._stated = (snapshot.version, stated)
        return stated


class _Session(Generic[Snapshot]):
    """What one open page holds: its board and the version it shows."""

    def __init__(self, page: PartsPage[Snapshot]) -> None:
        self._page = page
        snapshot = page.snapshot()
        self._version, self._shown = snapshot.version, page.state(snapshot)
        self._beat = page.context.now_ms()
        self.board = page.board(**self._shown, beat=self._beat, sizing_mode="stretch_both")
        page.every_second(self._refresh)

    def _refresh(self) -> None:
        snapshot = self._page.snapshot()
        now = self._page.context.now_ms()
        if now - self._beat >= BEAT_MS or now < self._beat:
            self._beat = self.board.beat = now
        if snapshot.version == self._version:
            return
        self._version = snapshot.version
        new = self._page.state(snapshot)
        self.board.param.update(**{name: part for name, part in new.items() if part is not self._shown[name]})
        self._shown = new
