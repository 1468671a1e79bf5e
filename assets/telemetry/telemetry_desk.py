"""What a process is given to judge the paper trader with: its settings, the store, whose numbers, and a clock."""

from dataclasses import dataclass, field

from resources.clock import Clock, SystemClock
from resources.feed import source_of
from resources.settings import Settings
from resources.store import Store, open_store


@dataclass(frozen=True, slots=True)
class TelemetryDesk:
    """Reads what the trader left in ``store`` and writes beside it; needs neither its feed nor Redis."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    source_given: str = ""

    @property
    def source(self) -> str:
        """Whose numbers: the source of the feed that the settings name."""
        return self.source_given or source_of(self.settings)


def open_telemetry_desk(settings: Settings) -> TelemetryDesk:
    """Raises StoreUnsafe or StoreUnavailable."""
    store = open_store(settings.store)
    store.check()
    return TelemetryDesk(settings, store)
