"""What a process is given to do research with; the libraries behind it are loaded when it begins to."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING

from resources.clock import Clock, SystemClock
from resources.history import History, open_history
from resources.settings import Settings
from resources.store import Store, open_store

if TYPE_CHECKING:
    from assets.research.configuration import ResearchConfiguration


@dataclass(frozen=True, slots=True)
class Research:
    """What research works with."""

    settings: Settings
    store: Store
    history: History
    clock: Clock
    configuration: "ResearchConfiguration"

    @property
    def source(self) -> str:
        return self.history.source


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class ResearchDesk:
    """Store, history and clock; ``history`` None opens the one that the settings name. Tests put their own in."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    history: History | None = None
    configuration: "ResearchConfiguration | None" = None

    @cached_property
    def research(self) -> "Research":
        """Opened once. Raises MarketError when the history cannot be."""
        from assets.research.configuration import ResearchConfiguration

        history = self.history or open_history(self.settings)
        return Research(self.settings, self.store, history, self.clock, self.configuration or ResearchConfiguration())


def open_research_desk(settings: Settings) -> ResearchDesk:
    """Raises StoreUnsafe or StoreUnavailable."""
    store = open_store(settings.store)
    store.check()
    return ResearchDesk(settings, store)
