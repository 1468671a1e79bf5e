"""Pages whose board has several parts, each sent to the browser only when it changed."""

from abc import abstractmethod
from typing import Any, ClassVar, Generic

import panel as pn
from panel.models.esm import DataEvent

from dashboards.components.board import ScriptedBoard
from dashboards.components.table_file import chosen, table_file
from dashboards.live_poller import Snapshot
from dashboards.page import BEAT_MS, Page, PageContext
from resources.documents import Document

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

    @abstractmethod
    def table(self, snapshot: Snapshot, name: str) -> dict[str, Document]:
        """The rows of a table to save, exact, by the ids they are shown under; none for a name that is no table's."""

    def exported(self, asked: object) -> dict[str, str] | None:
        """The file a browser asks for (``table_file``); None where it asks for nothing that is there."""
        if not isinstance(asked, dict):
            return None
        name = str(asked.get("export"))
        rows = self.table(self.snapshot(), name)
        return table_file(self.title.lower(), name, chosen(rows, asked.get("ids")), self.context.clock.now())

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
        self.board.on_msg(self._asked)
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

    def _asked(self, message: DataEvent) -> None:
        file = self._page.exported(message.data)
        if file is not None:
            self.board.send(file)
