"""Simulated venues: quotes, trades and funding of three exchanges that agree on a price, most of the time.

Every event is a function of (seed, hour), drawn hour by hour from generators of their own, so that the events of a
span do not depend on how or in what order the spans are asked for. Each asset has one common price, a diffusion
pinned at midnights and at full hours. A venue's price deviates from it by a few basis points that revert within
minutes and, about once a day, by a dislocation of 35 to 65 that builds up within seconds and decays over a quarter of
an hour: what the paper trader trades. A dislocated asset trades more. Nothing in here knows of the trader.

Nothing is promised by it either. How many dislocations there are, how high and how long was chosen so that the paper
trader, over days of several seeds, neither earns nor loses much: some days end above, some below, and in a day wins,
losses and broken legs mix. The result of a simulated day shows how the trader works, and not what it would earn.

``reverting=False`` is the market in which there is nothing to earn: deviations are sums of independent symmetric
steps, their dislocations stay. A trader that earns on it beyond noise is a broken trader. It starts anew each midnight
(a deviation that never reverts could not otherwise be bounded), so a test has to close its day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.feed import (
    FUNDING_PERIOD_NS,
    NANOSECONDS,
    FeedError,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Listing,
    Quote,
    Source,
    Trade,
    from_units,
    to_units,
)
from resources.feed.venues import canonical, in_singles, per_single, venue_of

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_EPOCH_NS = int(EPOCH.timestamp()) * NANOSECONDS
_HOUR = 3600
_HOUR_NS = _HOUR * NANOSECONDS
_HOURS = 24  # of a day
_DAY = 86_400
_YEAR = 365 * _DAY
_SETTLEMENT_HOURS = FUNDING_PERIOD_NS // _HOUR_NS

# Streams of random numbers, so that drawing more of one leaves the others as they are.
_ANCHORS, _DAYS, _PATHS, _DEVIATIONS, _DISLOCATIONS, _EVENTS, _FUNDING = range(7)

_LEVEL_DAYS = 60.0  # time in which a price forgets that it left its usual level
_NOISE_SECONDS = 90.0  # time in which a venue's everyday deviation reverts
_NOISE = 3e-4  # its standard deviation, a fraction of the price
_DISLOCATIONS_A_DAY = 1.25  # of one listing
_PEAK = (35e-4, 65e-4)  # of a dislocation, a fraction of the price
_RISE_SECONDS = (0.5, 3.0)  # to the peak: one large order sweeps a venue
_FALL_SECONDS = (300.0, 1100.0)  # from it, by a factor of e
_FORGOTTEN_SECONDS = 6 * _HOUR  # when nothing is left of one
_QUOTE_SECONDS = 1.7  # between quotes of a listing, on average
_TRADE_SECONDS = 5.0  # between its trades, while the asset is calm
_BUSY_FALLS = 2.0  # an asset trades more while a venue rises to a dislocation and falls by this many powers of e
_BUSY_FACTOR = 9.0  # by this much
_INFORMED = 0.35  # how strongly aggressors know the price their venue does not show yet
_STEP_NOISE = 0.25e-4  # of the deviation that never reverts, per square root of a minute

_RATE_LEVEL, _RATE_SPREAD, _RATE_NEWS = 0.00005, 0.00009, 0.00002
_RATE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Asset:
    """``price`` is the level the common price reverts to, ``volatility`` annualised (365 days), ``half_spread`` a
    fraction of the price, ``displayed`` the usual notional on each side of a book (quote currency)."""

    name: str
    price: float
    volatility: float
    half_spread: float
    displayed: float


ASSETS = (
    Asset("BTC", 64_000.0, 0.50, 0.4e-4, 150_000.0),
    Asset("ETH", 3_100.0, 0.65, 0.5e-4, 90_000.0),
    Asset("SOL", 150.0, 0.85, 0.8e-4, 50_000.0),
    Asset("XRP", 0.62, 0.80, 1.2e-4, 40_000.0),
    Asset("DOGE", 0.14, 0.95, 1.2e-4, 30_000.0),
    Asset("PEPE", 0.0000105, 1.20, 2.0e-4, 20_000.0),
)
_ASSET_INDEX = {asset.name: index for index, asset in enumerate(ASSETS)}

_BINANCE_FACTS = "tick and step: LEAN symbol properties, mainnet 2026; minima: exchangeInfo 2025-11-26"
_BYBIT_FACTS = "tick, step and minimum size: LEAN symbol properties, mainnet 2026; minimum notional assumed"
_KUCOIN_FACTS = "tick, step and minima assumed, no recorded answer"

# In the venue's own units: venue, symbol, tick, step, minimum size, minimum notional, where they come from.
_TABLE = (
    ("binance", "BTCUSDT", "0.1", "0.001", "0.001", "100", _BINANCE_FACTS),
    ("binance", "ETHUSDT", "0.01", "0.001", "0.001", "20", _BINANCE_FACTS),
    ("binance", "SOLUSDT", "0.01", "0.01", "0.01", "5", _BINANCE_FACTS),
    ("binance", "XRPUSDT", "0.0001", "0.1", "0.1", "5", _BINANCE_FACTS),
    ("binance", "DOGEUSDT", "0.00001", "1", "1", "5", _BINANCE_FACTS),
    ("binance", "1000PEPEUSDT", "0.0000001", "1", "1", "5", _BINANCE_FACTS),
    ("bybit", "BTCUSDT", "0.1", "0.001", "0.001", "5", _BYBIT_FACTS),
    ("bybit", "ETHUSDT", "0.01", "0.01", "0.01", "5", _BYBIT_FACTS),
    ("bybit", "SOLUSDT", "0.01", "0.1", "0.1", "5", _BYBIT_FACTS),
    ("bybit", "XRPUSDT", "0.0001", "1", "1", "5", _BYBIT_FACTS),
    ("bybit", "DOGEUSDT", "0.00001", "1", "1", "5", _BYBIT_FACTS),
    ("bybit", "1000PEPEUSDT", "0.000001", "100", "100", "5", _BYBIT_FACTS),
    ("kucoin", "XBTUSDTM", "0.1", "0.001", "0.001", "5", _KUCOIN_FACTS),
    ("kucoin", "ETHUSDTM", "0.01", "0.01", "0.01", "5", _KUCOIN_FACTS),
    ("kucoin", "SOLUSDTM", "0.001", "0.1", "0.1", "5", _KUCOIN_FACTS),
    ("kucoin", "XRPUSDTM", "0.0001", "10", "10", "5", _KUCOIN_FACTS),
    ("kucoin", "DOGEUSDTM", "0.00001", "100", "100", "5", _KUCOIN_FACTS),
    ("kucoin", "PEPEUSDTM", "0.000000001", "10000", "10000", "5", _KUCOIN_FACTS),
)
_LATENCY_NS = {"binance": 15_000_000, "bybit": 20_000_000, "kucoin": 30_000_000}


def _listing(venue: str, symbol: str, tick: str, step: str, min_size: str, min_notional: str, facts: str) -> Listing:
    meaning, fees = canonical(venue, symbol), venue_of(venue)
    return Listing(
        venue,
        symbol,
        meaning.asset,
        meaning.quote,
        tick=per_single(Decimal(tick), meaning.multiplier),
        step=in_singles(Decimal(step), meaning.multiplier),
        min_size=in_singles(Decimal(min_size), meaning.multiplier),
        min_notional=Decimal(min_notional),
        maker_fee=fees.maker_fee,
        taker_fee=fees.taker_fee,
        latency_ns=_LATENCY_NS[venue],
        settles_inverse=meaning.inverse,
        can_short=True,
        facts=f"SIMULATED prices; {facts}; {fees.fee_source}; latency assumed",
    )


LISTINGS = tuple(_listing(*row) for row in _TABLE)


class _Dislocations(NamedTuple):
    """Those of one day and listing: seconds since midnight, height (signed fraction), seconds of rise and fall."""

    begin: _Floats
    height: _Floats
    rise: _Floats
    fall: _Floats


class SimulatedFeed:
    """The simulated venues of one seed. About 1.3 million events a day; an hour at a time is kept in memory.

    Nothing is known before ``EPOCH``: earlier spans are empty.
    """

    def __init__(self, seed: int, *, reverting: bool = True) -> None:
        self._seed = seed
        self._reverting = reverting
        self._asset = np.array([_ASSET_INDEX[listing.asset] for listing in LISTINGS])
        self._ticks = [to_units(listing.tick) for listing in LISTINGS]
        self._steps = [to_units(listing.step) for listing in LISTINGS]
        self._smallest = [int(listing.min_size / listing.step) for listing in LISTINGS]
        # Bounded: a day's draws are asked for by its 24 hours, an hour's by a caller that advances by seconds.
        self._levels = lru_cache(maxsize=4)(self._draw_levels)
        self._hour_levels = lru_cache(maxsize=4)(self._draw_hour_levels)
        self._dislocations = lru_cache(maxsize=4)(self._draw_dislocations)
        self._day_steps = lru_cache(maxsize=4)(self._draw_day_steps)
        self._rates = lru_cache(maxsize=16)(self._draw_rates)
        self._hour = lru_cache(maxsize=2)(self._draw_hour)

    @property
    def source(self) -> Source:
        return "SIMULATED"

    @property
    def listings(self) -> tuple[Listing, ...]:
        return LISTINGS

    @property
    def repeatable(self) -> bool:
        return True

    def days(self) -> tuple[str, ...]:
        return ()

    def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
        """The events of a span, in time order. Raises FeedError when the span ends before it begins."""
        if end_ns < start_ns:
            raise FeedError(f"simulated: a span from {start_ns} to {end_ns} ends before it begins")
        first = max(0, (start_ns - _EPOCH_NS) // _HOUR_NS)
        stop = max(first, -((_EPOCH_NS - end_ns) // _HOUR_NS))
        for hour in range(first, stop):
            times, events = self._hour(hour)
            low = int(np.searchsorted(times, start_ns, side="left"))
            high = int(np.searchsorted(times, end_ns, side="left"))
            yield from events[low:high]

    def close(self) -> None:
        """There is nothing to give up."""

    # Prices

    def _random(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, *index])

    def _draw_levels(self, year: int) -> _Floats:
        """Log prices of the assets at the midnights of 366 days: rows days since day 365 * ``year`` after EPOCH.

        Years are drawn one after the other from EPOCH on: a few hundred numbers each.
        """
        keep = np.exp(-1 / _LEVEL_DAYS)
        usual = np.log([asset.price for asset in ASSETS])
        daily = np.array([asset.volatility for asset in ASSETS]) / np.sqrt(365)
        start = usual if year == 0 else self._levels(year - 1)[-1]
        draws = self._random(_ANCHORS, year).standard_normal((365, len(ASSETS))) * daily
        levels = np.empty((366, len(ASSETS)))
        levels[0] = start
        for day in range(365):
            levels[day + 1] = usual + keep * (levels[day] - usual) + draws[day]
        return levels

    def _draw_hour_levels(self, day: int) -> _Floats:
        """Log prices at the 25 full hours of a day, between its midnights."""
        levels = self._levels(day // 365)
        start, end = levels[day % 365], levels[day % 365 + 1]
        hourly = np.array([asset.volatility for asset in ASSETS]) / np.sqrt(365 * _HOURS)
        return _bridge(start, end, self._random(_DAYS, day).standard_normal((_HOURS, len(ASSETS))) * hourly)

    def _common(self, hour: int) -> _Floats:
        """Log prices of the assets at the 3601 seconds of an hour, its end included."""
        anchors = self._hour_levels(hour // _HOURS)
        start, end = anchors[hour % _HOURS], anchors[hour % _HOURS + 1]
        a_second = np.array([asset.volatility for asset in ASSETS]) / np.sqrt(_YEAR)
        return _bridge(start, end, self._random(_PATHS, hour).standard_normal((_HOUR, len(ASSETS))) * a_second)

    def _deviations(self, hour: int) -> _Floats:
        """Relative deviations of the listings from their asset's price, at the 3601 seconds of an hour."""
        return self._reverting_deviations(hour) if self._reverting else self._wandering_deviations(hour)

    def _reverting_deviations(self, hour: int) -> _Floats:
        # Full hours are forty times the memory apart, so that what is drawn there needs no look at the hour before.
        keep = np.exp(-1 / _NOISE_SECONDS)
        start, end = (
            self._random(_DEVIATIONS, at, 0).standard_normal(len(LISTINGS)) * _NOISE for at in (hour, hour + 1)
        )
        shocks = (
            self._random(_DEVIATIONS, hour, 1).standard_normal((_HOUR, len(LISTINGS))) * _NOISE * np.sqrt(1 - keep**2)
        )
        path = np.empty((_HOUR + 1, len(LISTINGS)))
        path[0] = level = start
        for second in range(_HOUR):
            level = keep * level + shocks[second]
            path[second + 1] = level
        to_end = np.exp(-(_HOUR - np.arange(_HOUR + 1)) / _NOISE_SECONDS)
        path += to_end[:, None] * (end - path[-1])
        day, since = divmod(hour, _HOURS)
        seconds = since * _HOUR + np.arange(_HOUR + 1.0)
        for listing in range(len(LISTINGS)):
            path[:, listing] += _shapes(self._dislocations(day)[listing], seconds)
            if day:
                path[:, listing] += _shapes(self._dislocations(day - 1)[listing], seconds + _DAY)
        return path

    def _wandering_deviations(self, hour: int) -> _Floats:
        day, since = divmod(hour, _HOURS)
        seconds = since * _HOUR + np.arange(_HOUR + 1.0)
        minutes = self._day_steps(day)
        path = np.empty((_HOUR + 1, len(LISTINGS)))
        for listing, drawn in enumerate(self._dislocations(day)):
            path[:, listing] = minutes[(seconds // 60).astype(np.int64), listing]
            path[:, listing] += (drawn.height * (seconds[:, None] >= drawn.begin)).sum(axis=1)
        return path

    def _draw_day_steps(self, day: int) -> _Floats:
        """Levels at the minutes of a day (its end included) of a walk that never reverts."""
        steps = self._random(_DEVIATIONS, day, 2).standard_normal((_DAY // 60 + 1, len(LISTINGS))) * _STEP_NOISE
        return np.cumsum(steps, axis=0)

    def _draw_dislocations(self, day: int) -> list[_Dislocations]:
        """Those that begin on a day, listing by listing. Heights are symmetric, up and down alike."""
        random = self._random(_DISLOCATIONS, day)
        drawn = []
        for _ in LISTINGS:
            count = int(random.poisson(_DISLOCATIONS_A_DAY))
            begin = np.sort(random.uniform(0, _DAY, count))
            height = random.uniform(*_PEAK, count) * random.choice((-1.0, 1.0), count)
            drawn.append(
                _Dislocations(
                    begin, height, random.uniform(*_RISE_SECONDS, count), random.uniform(*_FALL_SECONDS, count)
                )
            )
        return drawn

    def _busy(self, hour: int) -> NDArray[np.bool_]:
        """Whether an asset (column) is dislocated anywhere in a second (row) of an hour."""
        day, since = divmod(hour, _HOURS)
        busy = np.zeros((_HOUR, len(ASSETS)), dtype=np.bool_)
        for days_ago in range(min(day, 1) + 1):
            for asset, drawn in zip(self._asset.tolist(), self._dislocations(day - days_ago), strict=True):
                first = drawn.begin - since * _HOUR - days_ago * _DAY
                last = first + drawn.rise + _BUSY_FALLS * drawn.fall
                for low, high in zip(first.tolist(), last.tolist(), strict=True):
                    busy[max(int(low), 0) : max(int(high), 0), asset] = True
        return busy

    # Funding

    def _draw_rates(self, period: int) -> _Floats:
        """What the listings settle at the end of a period of eight hours, counted from EPOCH."""
        random = self._random(_FUNDING, period, 0)
        common = _RATE_LEVEL * (1 + random.standard_normal(len(ASSETS)))
        rates: _Floats = common[self._asset] + _RATE_SPREAD * random.standard_normal(len(LISTINGS))
        return rates

    def _funding_events(self, hour: int, common: _Floats) -> list[FeedEvent]:
        begin = _EPOCH_NS + hour * _HOUR_NS
        period, into = divmod(hour, _SETTLEMENT_HOURS)
        events: list[FeedEvent] = []
        if not into and period:
            for listing, rate in enumerate(self._rates(period - 1).tolist()):
                mark = round(float(np.exp(common[0, self._asset[listing]])) / self._price_of_tick(listing))
                events.append(FundingSettled(begin, listing, _rate(rate), mark * self._ticks[listing]))
        settles = _EPOCH_NS + (period + 1) * _SETTLEMENT_HOURS * _HOUR_NS
        # What is expected approaches what is settled, as the average that venues publish does.
        news = self._random(_FUNDING, hour, 1).standard_normal((60, len(LISTINGS))) * _RATE_NEWS
        left = 1 - (into * 60 + np.arange(60)) / (_SETTLEMENT_HOURS * 60)
        expected = self._rates(period) + news * left[:, None]
        for minute, rates in enumerate(expected.tolist()):
            at = begin + minute * 60 * NANOSECONDS
            events.extend(
                FundingQuote(at, listing, _rate(rate), settles, FUNDING_PERIOD_NS) for listing, rate in enumerate(rates)
            )
        return events

    def _price_of_tick(self, listing: int) -> float:
        return float(LISTINGS[listing].tick)

    # Events

    def _draw_hour(self, hour: int) -> tuple[_Ints, list[FeedEvent]]:
        """(times, events) of one hour, in order."""
        common, deviations = self._common(hour), self._deviations(hour)
        events = self._funding_events(hour, common)
        busy = self._busy(hour)
        times = [np.fromiter((event.time_ns for event in events), np.int64, len(events))]
        for listing, asset in enumerate(self._asset.tolist()):
            shown_at, shown, traded_at, traded = self._draw_listing(
                hour, listing, common[:, asset] + np.log1p(deviations[:, listing]), busy[:, asset]
            )
            times += [shown_at, traded_at]
            events += shown
            events += traded
        together = np.concatenate(times)
        order = np.argsort(together, kind="stable")
        return together[order], [events[index] for index in order.tolist()]

    def _draw_listing(
        self, hour: int, listing: int, path: _Floats, busy: NDArray[np.bool_]
    ) -> tuple[_Ints, list[Quote], _Ints, list[Trade]]:
        """Times and events of one listing in an hour. ``path`` is its log price at the seconds of the hour."""
        random = self._random(_EVENTS, hour, listing)
        asset, tick, step = ASSETS[self._asset[listing]], self._price_of_tick(listing), float(LISTINGS[listing].step)
        begin = _EPOCH_NS + hour * _HOUR_NS

        # The first quote of an hour comes at once, so that no trade is drawn from a quote of the hour before.
        first = (listing + 1) * 1e-3
        later = np.sort(random.uniform(first, _HOUR, random.poisson(_HOUR / _QUOTE_SECONDS)))
        shown_at = np.concatenate([[first], later])
        middle = np.exp(np.interp(shown_at, np.arange(_HOUR + 1.0), path))
        half = asset.half_spread * np.exp(0.35 * random.standard_normal(len(shown_at)))
        bid = np.maximum(np.floor(middle * (1 - half) / tick), 1).astype(np.int64)
        ask = np.maximum(np.ceil(middle * (1 + half) / tick).astype(np.int64), bid + 1)
        usual = asset.displayed / middle / step
        smallest = self._smallest[listing]
        bid_steps, ask_steps = (
            np.maximum(usual * np.exp(0.8 * random.standard_normal(len(shown_at))), smallest).astype(np.int64)
            for _ in range(2)
        )

        rate = np.where(busy, _BUSY_FACTOR, 1.0) / _TRADE_SECONDS
        counts = random.poisson(rate)
        traded_at = np.sort(np.repeat(np.arange(float(_HOUR)), counts) + random.uniform(0, 1, int(counts.sum())))
        traded_at = traded_at[traded_at > first]
        seen = np.searchsorted(shown_at, traded_at, side="right") - 1
        unseen = np.interp(traded_at, np.arange(_HOUR + 1.0), path) - np.log(middle[seen])
        buys = random.uniform(size=len(traded_at)) < 0.5 + _INFORMED * np.tanh(unseen / asset.half_spread)
        price = np.where(buys, ask[seen], bid[seen])
        against = np.where(buys, ask_steps[seen], bid_steps[seen])
        share = 0.25 * np.exp(1.1 * random.standard_normal(len(traded_at)))
        traded_steps = np.maximum(against * np.minimum(share, 1.0), smallest).astype(np.int64)

        # Prices and sizes leave as Python integers: units of a size of PEPE do not fit in 64 bits.
        tick_units, step_units = self._ticks[listing], self._steps[listing]
        shown_ns = begin + (shown_at * NANOSECONDS).astype(np.int64)
        traded_ns = begin + (traded_at * NANOSECONDS).astype(np.int64)
        quotes = list(
            map(
                Quote,
                shown_ns.tolist(),
                repeat(listing),
                (bid * tick_units).tolist(),
                [count * step_units for count in bid_steps.tolist()],
                (ask * tick_units).tolist(),
                [count * step_units for count in ask_steps.tolist()],
            )
        )
        trades = list(
            map(
                Trade,
                traded_ns.tolist(),
                repeat(listing),
                (price * tick_units).tolist(),
                [count * step_units for count in traded_steps.tolist()],
                buys.tolist(),
            )
        )
        return shown_ns, quotes, traded_ns, trades


def _bridge(start: _Floats, end: _Floats, steps: _Floats) -> _Floats:
    """Columns from ``start`` to ``end`` by ``steps``, which are shifted to arrive there."""
    free = np.zeros((len(steps) + 1, len(start)))
    np.cumsum(steps, axis=0, out=free[1:])
    elapsed = np.linspace(0, 1, len(steps) + 1)[:, None]
    path: _Floats = start + free + elapsed * (end - start - free[-1])
    return path


def _shapes(drawn: _Dislocations, seconds: _Floats) -> _Floats:
    """What dislocations amount to at ``seconds`` (ascending, since the midnight of their day)."""
    near = (drawn.begin <= seconds[-1]) & (drawn.begin >= seconds[0] - _FORGOTTEN_SECONDS)
    since = seconds[:, None] - drawn.begin[near]
    rise, fall = drawn.rise[near], drawn.fall[near]
    shape = np.where(since < rise, np.maximum(since, 0) / rise, np.exp(np.minimum(rise - since, 0) / fall))
    total: _Floats = (drawn.height[near] * shape).sum(axis=1)
    return total


def _rate(rate: float) -> Decimal:
    """On the grid of eight decimals that venues publish rates on."""
    return from_units(round(rate * 10**_RATE_DIGITS) * 100)
