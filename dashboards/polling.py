"""What all pollers of the store do: one a process looks every so often, and every viewer reads what it saw last."""

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


class Polling(ABC, Generic[Seen]):
    """Publishes immutable snapshots. ``refresh`` blocks on the store and is never run twice at once."""

    _snapshot: Seen

    @property
    def snapshot(self) -> Seen:
        """The newest snapshot; safe to read from any thread."""
        return self._snapshot

    @abstractmethod
    def refresh(self) -> None:
        """Look at the store and publish what changed. A store error keeps the old data and says why."""

    async def run(self, seconds: float) -> None:
        """Refresh every ``seconds`` until cancelled; the store is read off the event loop."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(seconds)
