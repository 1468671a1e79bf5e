"""What a process is given to trade on paper with: store, feed, rules and clock."""

from dataclasses import dataclass, field
from functools import cached_property

from assets.arbitrage.rules import Rules
from resources.clock import Clock, SystemClock
from resources.feed import Feed, Source, open_feed, source_of
from resources.settings import Settings
from resources.store import Store, open_store


@dataclass(frozen=True)
class ArbitrageDesk:
    """``feed_given`` None opens the feed that the settings name, once it is asked for. Tests put their own in."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    feed_given: Feed | None = None
    rules_given: Rules | None = None

    @cached_property
    def feed(self) -> Feed:
        """Opened once. Raises FeedError when it cannot be."""
        return self.feed_given or open_feed(self.settings)

    def close(self) -> None:
        """Let go of the feed, if it was opened: a live one has connections."""
        if "feed" in self.__dict__:  # where a cached property keeps its value
            self.feed.close()

    @property
    def source(self) -> Source:
        """The feed's source by name, without opening it."""
        return source_of(self.settings) if self.feed_given is None else self.feed_given.source

    @property
    def rules(self) -> Rules:
        """The rules of a new session; one that was begun goes on under its own."""
        return self.rules_given or Rules(
            starting_capital=self.settings.arbitrage_capital, fill_threshold=self.settings.arbitrage_fill_threshold
        )


def open_arbitrage_desk(settings: Settings) -> ArbitrageDesk:
    """Raises StoreUnsafe or StoreUnavailable."""
    store = open_store(settings.store)
    store.check()
    return ArbitrageDesk(settings, store)
