"""Which funding settlements are still owed to the legs of open trades, and what their venues tell of them."""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future, wait
from datetime import UTC, datetime
from typing import NamedTuple

from assets.arbitrage.model import Leg, PaperTrade
from assets.arbitrage.open_trade import places
from assets.arbitrage.portfolio import Portfolio
from resources.feed import NANOSECONDS, FeedError, FundingSettled, Listing, SettlementHistory, Settlements

_log = logging.getLogger(__name__)

_MINUTE_NS = 60 * NANOSECONDS
_HOUR_NS = 60 * _MINUTE_NS
_OWED_NS = 6 * _HOUR_NS  # for so long a settlement is asked for that its venue does not tell, or has not published
_NOT_YET = "what %s settled on %s is not booked yet, and asked for again: %s"
_NEVER = "what %s settled on %s is not booked: %s"


class _Owed(NamedTuple):
    """A settlement that a leg was not paid, since its venue does not tell its rate or mark."""

    trade_id: str
    leg: Leg
    settled_ns: int


class _Asked(NamedTuple):
    """A question about a listing, and who held it then: a trade, and which of its legs."""

    answer: Future[Settlements]
    until_ns: int
    holders: tuple[tuple[str, Leg], ...]


class MissedFunding:
    """Finds what venues settled on the legs of open trades while nobody was there to be told, or the feed could not
    tell it: the process was down, the machine slept, a rate or a book was not known.

    Settlements fall on whole hours. A minute after each the venues of what is held, or was when it was settled, are
    asked: the first time since the trades were entered, then for those of the last hours, and each minute again while
    one does not answer or has not published what is due; what was paid already the portfolio knows. After ``_OWED_NS``
    it is given up, and at once where the trade is closed, which is logged once. Nothing here waits, but for ``wait``.
    """

    def __init__(self, history: SettlementHistory, listings: Sequence[Listing], stopped_ns: int, now_ns: int) -> None:
        """``stopped_ns``: until when somebody was there, before ``now_ns``."""
        self._history = history
        self._listings = tuple(listings)
        self._indices = {(listing.venue, listing.symbol): index for index, listing in enumerate(listings)}
        self._told_ns: dict[int, int] = {}  # until when a listing's venue has answered, once it has
        self._ended_ns = stopped_ns - _OWED_NS  # what trades that ended before are owed was given up
        self._asked: dict[int, _Asked] = {}
        self._failing: dict[int, int] = {}  # since when a listing's venue does not answer
        self._owed: dict[int, dict[_Owed, int]] = {}  # of each listing, and since when that is known
        self._lost: set[_Owed] = set()  # what was given up
        self._unlisted: set[tuple[str, str]] = set()  # which that was logged of
        self._hour_ns = _after_the_hour(now_ns)
        self._again_ns = self._hour_ns

    def ask(self, portfolio: Portfolio, now_ns: int) -> None:
        """Ask for all that is held, whatever the time."""
        self._ask(portfolio, now_ns, self._indices.values())

    def wait(self, seconds: float) -> None:
        """Until what was asked is answered, but no longer than that."""
        wait([asked.answer for asked in self._asked.values()], seconds)

    def take(self, portfolio: Portfolio, now_ns: int) -> list[FundingSettled]:
        """What has been told since the last call; asks what is to be asked by ``now_ns``. Raises FeedError when the
        feed is closed."""
        self._give_up(portfolio, now_ns)
        if now_ns >= self._hour_ns:
            self._hour_ns = _after_the_hour(now_ns)
            self.ask(portfolio, now_ns)
        elif now_ns >= self._again_ns:
            self._ask(portfolio, now_ns, self._failing.keys() | self._owed.keys())
        told: list[FundingSettled] = []
        answered = {listing: asked for listing, asked in self._asked.items() if asked.answer.done()}
        for listing, asked in answered.items():
            del self._asked[listing]
            told += self._answered(portfolio, listing, asked, now_ns)
        # What was still being answered when all that is held was asked for was not asked for what was settled since.
        due_ns = self._hour_ns - _HOUR_NS
        if behind := [listing for listing, asked in answered.items() if asked.until_ns < due_ns]:
            self._ask(portfolio, now_ns, behind)
        return told

    def end(self, portfolio: Portfolio, now_ns: int) -> None:
        """Say what trades that ended in the session were not told by its end: the next one knows those that are open,
        and asks for them."""
        self._give_up(portfolio, now_ns)
        still_open = {trade.id for trade in portfolio.open_trades}
        for listing, held in self._held(portfolio).items():
            if any(trade.id not in still_open for trade, _ in held):
                self._say(_NEVER, listing, "it was not told before the day ended; the trade is closed")

    def _ask(self, portfolio: Portfolio, now_ns: int, wanted: Iterable[int]) -> None:
        self._again_ns = now_ns + _MINUTE_NS
        held = self._held(portfolio)
        for listing in self._failing.keys() - held.keys():  # nothing was settled on what was held
            del self._failing[listing]
        for listing in sorted((held.keys() - self._asked.keys()).intersection(wanted)):
            owed = (each.settled_ns for each in self._owed.get(listing, ()))
            since_ns = min((self._told_ns.get(listing, 0) - _OWED_NS, *owed))
            since_ns = max(since_ns, min(trade.entry_time for trade, _ in held[listing]))
            holders = tuple((trade.id, leg) for trade, leg in held[listing])
            self._asked[listing] = _Asked(self._history.ask_settled(listing, since_ns, now_ns), now_ns, holders)

    def _answered(self, portfolio: Portfolio, listing: int, asked: _Asked, now_ns: int) -> Sequence[FundingSettled]:
        try:
            settlements = asked.answer.result()
        except (FeedError, CancelledError) as error:
            if listing not in self._failing:
                self._failing[listing] = now_ns
                self._say(_NOT_YET, listing, error)
            return ()
        self._failing.pop(listing, None)
        self._told_ns[listing] = asked.until_ns
        before = self._owed.pop(listing, {})
        still_open = {trade.id for trade in portfolio.open_trades}
        known = [event.time_ns for event in settlements.known]
        owed = {
            _Owed(trade_id, leg, settled_ns)
            for trade_id, leg in asked.holders
            # What was closed since cannot be paid what is known either.
            for settled_ns in (*settlements.unknown, *(() if trade_id in still_open else known))
            if portfolio.unfunded(trade_id, leg, settled_ns)
        } - self._lost
        if owed:
            self._owed[listing] = {each: before.get(each, now_ns) for each in owed}
        if news := [each for each in owed - before.keys() if each.trade_id in still_open]:
            self._say(_NOT_YET, listing, _spelt(news))
        return settlements.known

    def _give_up(self, portfolio: Portfolio, now_ns: int) -> None:
        """Say what can be paid no more, or has been asked for long enough."""
        if not self._failing and not self._owed:
            return
        still_open = {trade.id for trade in portfolio.open_trades}
        for listing, since_ns in tuple(self._failing.items()):
            if now_ns - since_ns >= _OWED_NS:
                self._say(_NEVER, listing, f"its venue did not answer in {(now_ns - since_ns) // _MINUTE_NS} minutes")
                del self._failing[listing]
                self._told_ns[listing] = now_ns
        for listing, owed in tuple(self._owed.items()):
            gone = {each for each in owed if each.trade_id not in still_open}
            old = {each for each, since_ns in owed.items() if now_ns - since_ns >= _OWED_NS} - gone
            for lost, why in ((gone, "; the trade is closed"), (old, "")):
                if lost:
                    self._say(_NEVER, listing, _spelt(lost) + why)
            self._lost |= gone | old
            self._owed[listing] = {each: owed[each] for each in owed.keys() - self._lost}
            if not self._owed[listing]:
                del self._owed[listing]

    def _held(self, portfolio: Portfolio) -> dict[int, list[tuple[PaperTrade, Leg]]]:
        """The legs by listing: of the open trades, and of those that ended before their venue told what they held."""
        held: dict[int, list[tuple[PaperTrade, Leg]]] = {}
        for trade in (*portfolio.open_trades, *reversed(portfolio.closed_trades)):
            if trade.exit_time is not None and trade.exit_time <= self._ended_ns:
                break  # as did all before it
            for leg, place in places(trade).items():
                if place in self._indices:
                    listing = self._indices[place]
                    if trade.exit_time is None or self._untold(portfolio, trade, leg, trade.exit_time, listing):
                        held.setdefault(listing, []).append((trade, leg))
                elif place not in self._unlisted:
                    self._unlisted.add(place)
                    _log.warning(_NEVER, *place, "it is not listed any more")
        return held

    def _untold(self, portfolio: Portfolio, trade: PaperTrade, leg: Leg, ended_ns: int, listing: int) -> bool:
        """Whether something may have been settled on a leg of a trade that ended, and its venue was not asked since."""
        asked_ns = _after_the_hour(max(self._told_ns.get(listing, 0), trade.entry_time)) - _MINUTE_NS
        hours = range(asked_ns, ended_ns + 1, _HOUR_NS)
        return any(portfolio.unfunded(trade.id, leg, hour_ns) for hour_ns in hours)

    def _say(self, what: str, listing: int, why: object) -> None:
        _log.warning(what, self._listings[listing].venue, self._listings[listing].symbol, why)


def _spelt(owed: Iterable[_Owed]) -> str:
    instants = sorted({each.settled_ns for each in owed})
    ends = (str(datetime.fromtimestamp(time_ns // NANOSECONDS, UTC)) for time_ns in (instants[0], instants[-1]))
    return f"{len(instants)} of {' to '.join(ends)} not known"


def _after_the_hour(now_ns: int) -> int:
    """The next time that a settlement may have been published: a minute after a whole hour."""
    return ((now_ns - _MINUTE_NS) // _HOUR_NS + 1) * _HOUR_NS + _MINUTE_NS
