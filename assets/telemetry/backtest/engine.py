"""Signals against a market's past, through the paper venue and into the accounting book, as paper trading does it.

A signal at time t is sized, checked and filled against what was known strictly before t. Funding is booked with the
quantity held strictly before each settlement. Where two things happen at one instant, funding comes first, then
signals in the order given, then the point of the equity curve. What cannot be traded is refused with a reason and
stays in the report: as many signals come out as went in. A run begins flat: where signals before it leave a symbol
held that it has signals for, it is refused, as the exit would be taken for an opening.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Literal

from assets.accounting.book import Book, LedgerError
from assets.accounting.events import Fill
from assets.accounting.funding import DELAY, PERIOD, Due, due_on, payments, settled
from assets.accounting.instrument import (
    Instrument,
    Instruments,
    NotADecimal,
    floor_lots,
    lots_of,
    parse_decimal,
    parse_exchange_info,
    quantity_of,
    resolve_ticker,
)
from assets.accounting.marks import sift
from assets.accounting.pnl import portfolio_value, portfolio_value_from_lots
from assets.accounting.precision import EXACT, ZERO, quotient
from assets.telemetry.backtest.coverage import Coverage, market_coverage
from assets.telemetry.backtest.report import (
    EquityPoint,
    FundingPayment,
    MixedCurrencies,
    Report,
    Side,
    SignalRecord,
    Trade,
)
from resources.market import Mark, Market
from resources.venue import Execution, Order, PaperVenue

_INSTANT = timedelta(microseconds=1)  # datetime's grain: the last instant strictly before another


class BacktestRefused(Exception):
    """The backtest cannot be run as asked; the message says why, with numbers."""


class BadSignals(BacktestRefused):
    """The signals cannot be read, or contradict themselves; the message names the first one."""


class InsufficientCoverage(BacktestRefused):
    """The market's data do not cover what the run needed; ``coverage`` has the counts of every symbol traded."""

    def __init__(self, message: str, coverage: Mapping[str, Coverage]) -> None:
        super().__init__(message)
        self.coverage = coverage


class Insolvent(BacktestRefused):
    """Equity fell to zero or below: the venue has no margin calls, so nothing after that could have happened."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A wish to trade at ``time`` (UTC): ``quantity`` in contract units or ``notional`` in quote currency, above 0.

    ``symbol`` is a pair (BTC/USDT), a ticker (BTC_USDT) or the exchange's own name (BTCUSDT). ``confidence`` is 0 to 1,
    None where the signal states none; it is reported and changes no size.
    """

    signal_id: str
    time: datetime
    symbol: str
    side: Side
    strategy: str
    quantity: Decimal | None = None
    notional: Decimal | None = None
    confidence: Decimal | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    signal: Signal
    order: Order
    instrument: Instrument


class BacktestEngine:
    """Runs signals over a period; the brief's fields tell where it stands. Amounts in ``currency``.

    ``equity``: cash and positions at the newest valid marks. ``cash``: capital less purchases and fees, plus sales and
    funding. ``unrealized_pnl``: of the open lots, before fees. ``peak_equity``: the highest point of the curve.
    ``max_drawdown``: the lowest equity / peak - 1, a fraction, zero or negative. ``daily_pnl``: by UTC day, from the
    last equity strictly before 00:00 to the last one strictly before the next; their sum is equity - capital.
    ``equity_curve``: one point every ``step`` and one at the end.

    ``bar``: how old a mark may be where the data are whole; ``least_coverage``: the share of such bars below which a
    run is refused, of each symbol over what the run needs of it. ``max_leverage``: gross notional an order may lead to,
    in multiples of equity; orders that reduce the position are always let through. Liquidity that one instant's orders
    take is gone for that instant's others.
    """

    def __init__(
        self,
        market: Market,
        venue: PaperVenue,
        *,
        capital: Decimal,
        currency: str,
        step: timedelta = timedelta(hours=4),
        bar: timedelta = timedelta(minutes=1),
        least_coverage: Decimal = Decimal("0.95"),
        max_leverage: Decimal = Decimal(1),
        stale_mark_seconds: int = 120,
    ) -> None:
        if not (capital > 0 and step > timedelta(0) and bar > timedelta(0) and max_leverage > 0):
            raise ValueError(f"need capital {capital}, step {step}, bar {bar} and leverage {max_leverage} above 0")
        self._market = market
        self._venue = venue
        self._capital = capital
        self._currency = currency
        self._step = step
        self._bar = bar
        self._least_coverage = least_coverage
        self._max_leverage = max_leverage
        self._longest_age = timedelta(seconds=stale_mark_seconds)
        self._begin()

    def _begin(self) -> None:
        self._book = Book(self._capital)
        self._valid: dict[str, Mark] = {}
        self._trades: list[Trade] = []
        self._funding: list[FundingPayment] = []
        self._not_booked: list[tuple[datetime, str]] = []
        self._due: list[Due] = []
        self._stale_points = 0
        self._pairs: dict[str, str] = {}
        self._looked = datetime.min.replace(tzinfo=UTC)
        self.equity = self.cash = self.peak_equity = self._capital
        self.unrealized_pnl = self.max_drawdown = ZERO
        self.daily_pnl: dict[date, Decimal] = {}
        self.equity_curve: list[EquityPoint] = []

    def run(self, signals: Sequence[Signal], start: datetime, end: datetime) -> Report:
        """Replay ``signals`` from ``start`` through ``end`` (UTC) and report. Each run begins anew.

        Raises MixedCurrencies when signals or contracts are not all quoted in ``currency``; BadSignals for a signal no
        desk could understand; InsufficientCoverage when the market lacks too much of a symbol from its first signal of
        the period to its last, or to ``end`` where it is held until then; Insolvent when a point of the curve is not
        above zero; BacktestRefused when the period is empty, or when a symbol that it has signals for may be held where
        it begins: those before do not cancel out, or one of them states a notional.
        """
        if start.utcoffset() != timedelta(0) or end.utcoffset() != timedelta(0) or end < start:
            raise BacktestRefused(f"the period must run forward in UTC, got {start} to {end}")
        _require_readable(signals)
        one_currency([signal.symbol for signal in signals], self._currency)
        instruments = parse_exchange_info(self._market.exchange_info(start))
        resolved = {symbol: self._resolve(symbol, instruments) for symbol in {signal.symbol for signal in signals}}
        traded = {instrument.symbol for instrument, reason in resolved.values() if instrument and not reason}

        self._begin()
        self._looked = start
        self._pairs = {
            instrument.symbol: f"{instrument.base_asset}/{instrument.quote_asset}"
            for instrument, _ in resolved.values()
            if instrument
        }
        records: list[SignalRecord | None] = [None] * len(signals)
        due: dict[datetime, list[int]] = {}
        asked: dict[str, list[datetime]] = {}
        for number, signal in enumerate(signals):
            instrument, reason = resolved[signal.symbol]
            if start <= signal.time <= end:
                due.setdefault(signal.time, []).append(number)
                if instrument is not None and not reason:
                    asked.setdefault(instrument.symbol, []).append(signal.time)
            else:
                records[number] = _record(signal, None, "outside_period")
        _require_flat(signals, resolved, asked.keys(), start)
        points = {start + number * self._step for number in range((end - start) // self._step + 1)} | {end}
        for instant in sorted(points | set(due)):
            self._settle(instant, traded)
            numbers = due.get(instant, [])
            outcomes = self._trade([signals[number] for number in numbers], resolved, instant)
            for number, record in zip(numbers, outcomes, strict=True):
                records[number] = record
            if instant in points:
                self._point(instant)
        coverage = self._coverage(asked, start, end)
        return Report(
            currency=self._currency,
            source=self._market.name,
            start_value=self._capital,
            points=tuple(self.equity_curve),
            trades=tuple(self._trades),
            signals=tuple(record for record in records if record is not None),
            prices={pair: self._valid[symbol].price for symbol, pair in self._pairs.items() if symbol in self._valid},
            funding=tuple(self._funding),
            coverage={self._pairs[symbol]: found.document() for symbol, found in coverage.items()},
            funding_not_booked=tuple(self._not_booked),
            funding_not_recorded=self._not_recorded(),
            stale_points=self._stale_points,
        )

    def _coverage(self, asked: Mapping[str, Sequence[datetime]], start: datetime, end: datetime) -> dict[str, Coverage]:
        """What the market has of each symbol over the span in which the run, which is over, needed it, given when
        signals ``asked`` for it. Raises InsufficientCoverage where that is too little."""
        held = self._book.held()
        spans = {}
        for symbol, instants in asked.items():
            # A signal sees what was known strictly before it: the bar before the first one is needed, and the one that
            # the last lies in, or a recording of longer bars would not show as one.
            first, last = (-((start - instant) // self._bar) for instant in (min(instants), max(instants)))
            until = end if symbol in held else min(start + last * self._bar, end)
            spans[symbol] = (start + max(first - 1, 0) * self._bar, until)
        coverage = market_coverage(self._market, spans, self._bar)
        for symbol, found in coverage.items():
            if found.share < self._least_coverage:
                raise InsufficientCoverage(
                    f"{symbol}: {found.present} of {found.expected} bars of {self._bar} that are needed from "
                    f"{found.start} to {found.end}",
                    coverage,
                )
        return coverage

    def _resolve(self, symbol: str, instruments: Instruments) -> tuple[Instrument | None, str]:
        found = resolve_ticker(symbol.replace("/", "_"), instruments, self._currency)
        if found.reason == "wrong_quote":
            raise MixedCurrencies(f"{symbol} is not quoted in {self._currency}")
        instrument = None if found.symbol is None else instruments.get(found.symbol)
        # A quantity given for SHIB means another number of 1000SHIB contracts: refused rather than guessed at.
        return instrument, found.reason or ("multiplied_contract" if found.multiplier != 1 else "")

    def _settle(self, until: datetime, symbols: set[str]) -> None:
        """Book the funding published since the last look. No fill lies in between, so the book is what was held."""
        paid, unusable = payments(self._book, self._market.funding(symbols, self._looked, until))
        self._book.apply_all(paid)
        self._funding += [FundingPayment(event.time, self._pairs[event.symbol], event.amount) for event in paid]
        self._not_booked += [(rate.time, self._pairs[rate.symbol]) for rate in unusable]
        self._due += due_on(self._book, symbols, self._looked, until)
        self._looked = until

    def _not_recorded(self) -> tuple[tuple[datetime, str], ...]:
        """The ends of eight hours at which something was held and in which the market has no settlement at all: no
        record is not a rate of 0. Of a contract that settles more often one that is missing between is not seen."""
        if not self._due:
            return ()
        first, last = self._due[0][0] - PERIOD, self._due[-1][0] + DELAY
        published: dict[str, list[datetime]] = {symbol: [] for _, symbol in self._due}
        for rate in self._market.funding(published.keys(), first, last):
            published[rate.symbol].append(rate.time)
        return tuple((due, self._pairs[symbol]) for due, symbol in self._due if not settled(published[symbol], due))

    def _trade(
        self, signals: Sequence[Signal], resolved: Mapping[str, tuple[Instrument | None, str]], at: datetime
    ) -> list[SignalRecord]:
        """Plan each signal on what was known before ``at``, execute all of them together, book the fills."""
        if not signals:
            return []
        before = at - _INSTANT
        marks = sift(self._market.marks(before), before, self._longest_age)
        self._valid.update(marks.accepted)
        planned: dict[str, _Planned] = {}
        refusals: dict[str, str] = {}
        expected = dict(self._book.held())
        for signal in signals:
            instrument, reason = resolved[signal.symbol]
            if instrument is not None and not reason:
                reason = marks.reason(instrument.symbol)
            if reason or instrument is None:
                refusals[signal.signal_id] = reason or "unknown_symbol"
                continue
            plan, reason = self._plan(signal, instrument, marks.accepted[instrument.symbol].price, expected)
            if plan is None:
                refusals[signal.signal_id] = reason
            else:
                planned[signal.signal_id] = plan
        executions = {
            execution.order.order_id: execution
            for execution in self._venue.execute(
                [plan.order for plan in planned.values()],
                lambda symbol: self._market.liquidity(symbol, before),
                at,
            )
        }
        for execution in executions.values():
            self._book_fills(planned[execution.order.order_id].signal, execution)
        return [
            _record(signal, executions.get(signal.signal_id), refusals.get(signal.signal_id, "")) for signal in signals
        ]

    def _plan(
        self, signal: Signal, instrument: Instrument, price: Decimal, expected: dict[str, Decimal]
    ) -> tuple[_Planned | None, str]:
        """The order of a signal, or why there is none. ``expected``: positions if all orders before it fill."""
        symbol = instrument.symbol
        if signal.quantity is not None:
            lots = floor_lots(signal.quantity, instrument)
        else:
            assert signal.notional is not None
            lots = lots_of((signal.notional,), (price,), instrument)
        quantity = quantity_of(lots, instrument)
        if quantity < instrument.min_qty or not quantity:
            return None, "below_min_qty"
        if quantity > instrument.max_qty:
            return None, "above_max_qty"
        with localcontext(EXACT):
            held = expected.get(symbol, ZERO)
            after = held + (quantity if signal.side == "buy" else -quantity)
            reduces = abs(after) < abs(held) and held * after >= 0
            if not reduces:
                if quantity * price < instrument.min_notional:
                    return None, "below_min_notional"
                prices = {name: mark.price for name, mark in self._valid.items()}
                gross = sum((abs(q) * prices[name] for name, q in expected.items() if name != symbol), ZERO)
                if gross + abs(after) * price > self._max_leverage * portfolio_value(self._book, prices):
                    return None, "insufficient_equity"
            expected[symbol] = after
        side: Literal["BUY", "SELL"] = "BUY" if signal.side == "buy" else "SELL"
        order = Order(
            signal.signal_id, symbol, side, quantity, reduces, instrument.tick_size, price,
            # On a grid counted from elsewhere the venue cuts a part-fill to the quantity's own digits.
            None if instrument.grid_offset else instrument.step,
        )  # fmt: skip
        return _Planned(signal, order, instrument), ""

    def _book_fills(self, signal: Signal, execution: Execution) -> None:
        for fill in execution.fills:
            trade = Trade(
                fill.fill_id, fill.time, self._pairs[fill.symbol], signal.side, fill.quantity, fill.price, fill.fee,
                signal.strategy, self._currency,
            )  # fmt: skip
            self._trades.append(trade)
            event = Fill(
                f"fill:{fill.fill_id}", fill.time, fill.symbol, trade.signed, fill.price, fill.fee, fill.order_id,
                "backtest", {signal.strategy: Decimal(1)},
            )  # fmt: skip
            self._book.apply_all([event])

    def _point(self, instant: datetime) -> None:
        marks = sift(self._market.marks(instant), instant, self._longest_age)
        self._valid.update(marks.accepted)
        self._stale_points += any(marks.reason(symbol) for symbol in self._book.positions)
        prices = {symbol: self._valid[symbol].price for symbol in self._book.positions}
        equity, book = portfolio_value(self._book, prices), self._book
        if equity != portfolio_value_from_lots(book, prices):
            raise LedgerError(f"cash view and lot view of equity differ at {instant}")
        if equity <= 0:
            raise Insolvent(f"equity is {equity} at {instant}: no desk goes on from there")
        with localcontext(EXACT):
            self.unrealized_pnl = equity - self._capital - book.realised + book.fees - book.funding
            previous = self.equity
            day = instant.date()
            self.daily_pnl[day] = self.daily_pnl.get(day, ZERO) + equity - previous
        self.equity, self.cash = equity, book.cash
        self.peak_equity = max(self.peak_equity, equity)
        self.max_drawdown = min(self.max_drawdown, quotient(EXACT.subtract(equity, self.peak_equity), self.peak_equity))
        self.equity_curve.append(EquityPoint(instant, equity, self.cash))


def _record(signal: Signal, execution: Execution | None, refusal: str) -> SignalRecord:
    status: Literal["filled", "partial", "refused"] = "refused"
    reason = refusal
    if execution is not None:
        reason = execution.reason
        if execution.fills:
            status = "partial" if execution.unfilled else "filled"
    return SignalRecord(
        signal.signal_id, signal.time, signal.symbol, signal.side, signal.strategy, signal.confidence, signal.quantity,
        signal.notional, status, reason,
    )  # fmt: skip


def _require_readable(signals: Sequence[Signal]) -> None:
    seen: set[str] = set()
    for signal in signals:
        problem = ""
        size = signal.notional if signal.quantity is None else signal.quantity
        if signal.time.utcoffset() != timedelta(0):
            problem = f"time {signal.time} is not UTC"
        elif signal.side not in ("buy", "sell"):
            problem = f"side {signal.side!r} is neither buy nor sell"
        elif (signal.quantity is None) == (signal.notional is None) or size is None:
            problem = "exactly one of quantity and notional must be given"
        elif not (size.is_finite() and size > 0):
            problem = f"size {size} is not above 0"
        elif signal.confidence is not None and not 0 <= signal.confidence <= 1:
            problem = f"confidence {signal.confidence} is not within 0 to 1"
        elif signal.signal_id in seen or not signal.signal_id:
            problem = "its id is empty or was used before"
        if problem:
            raise BadSignals(f"signal {signal.signal_id!r}: {problem}")
        seen.add(signal.signal_id)


def _require_flat(
    signals: Sequence[Signal],
    resolved: Mapping[str, tuple[Instrument | None, str]],
    symbols: Collection[str],
    start: datetime,
) -> None:
    """Raise BacktestRefused where the signals before ``start`` leave one of ``symbols`` held, or nobody can tell."""
    opened: dict[str, Signal] = {}  # the first since the symbol was last flat
    held: dict[str, Decimal | None] = {}  # in whole lots; None: unknown, as what a notional bought is
    for signal in sorted((each for each in signals if each.time < start), key=lambda each: each.time):
        instrument, reason = resolved[signal.symbol]
        if instrument is None or reason or instrument.symbol not in symbols:
            continue
        before = held.get(instrument.symbol, ZERO)
        if before is None:
            continue
        if not before:
            opened[instrument.symbol] = signal
        if signal.quantity is None:
            held[instrument.symbol] = None
        else:
            quantity = quantity_of(floor_lots(signal.quantity, instrument), instrument)
            held[instrument.symbol] = EXACT.add(before, quantity if signal.side == "buy" else -quantity)
    for symbol, left in held.items():
        if left is None or left:
            signal = opened[symbol]
            raise BacktestRefused(
                f"{signal.symbol} may be held at {start}, and its exit would be taken for an opening: begin no later "
                f"than signal {signal.signal_id!r} of {signal.time}, or leave out the signals of that position"
            )


def quoted_in(symbol: str) -> str:
    """The quote currency a spelled pair names (BTC/EUR, BTC_EUR, BTC-EUR), "" where the spelling does not say."""
    for separator in "/_-":
        if separator in symbol:
            return symbol.rpartition(separator)[2].strip().upper()
    return ""


def one_currency(symbols: Sequence[str], currency: str) -> None:
    """Raise MixedCurrencies unless every pair that names its quote currency names ``currency``."""
    named = {symbol: quoted_in(symbol) for symbol in symbols}
    others = sorted({f"{symbol} ({quote})" for symbol, quote in named.items() if quote not in ("", currency)})
    if others:
        raise MixedCurrencies(f"a report in {currency} cannot hold {', '.join(others)}")


_REQUIRED = ("timestamp", "pair", "side", "strategy")


def read_signals(data: bytes) -> list[Signal]:
    """Signals from CSV: timestamp (with offset), pair, side (buy, sell, LONG, SHORT), strategy, and qty or notional.

    Optional: signal_id (default: the row's number), confidence. Raises BadSignals naming the first row that cannot be
    read; nothing is skipped.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
        header = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadSignals(f"the signals are no CSV: {error}") from error
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise BadSignals(f"the signals lack {', '.join(missing)}")
    return [_read_signal(number, row) for number, row in enumerate(rows, start=1)]


_SIDES: dict[str, Side] = {"buy": "buy", "long": "buy", "sell": "sell", "short": "sell"}


def _read_signal(number: int, row: Mapping[str | None, str | None]) -> Signal:
    def text(name: str) -> str:
        return (row.get(name) or "").strip()

    def amount(name: str) -> Decimal | None:
        return parse_decimal(text(name)) if text(name) else None

    try:
        if None in row:
            raise ValueError("more cells than columns")
        time = datetime.fromisoformat(text("timestamp"))
        if time.tzinfo is None:
            raise ValueError(f"time {text('timestamp')!r} has no offset")
        side = _SIDES.get(text("side").lower())
        if side is None:
            raise ValueError(f"side {text('side')!r}")
        return Signal(
            signal_id=text("signal_id") or str(number),
            time=time.astimezone(UTC),
            symbol=text("pair"),
            side=side,
            strategy=text("strategy"),
            quantity=amount("qty"),
            notional=amount("notional"),
            confidence=amount("confidence"),
        )
    except (ValueError, NotADecimal) as error:
        raise BadSignals(f"row {number} of the signals: {error}") from error
