"""A backtest report in brief 4's four files, from generic values, with the identities that make it believable.

``reports/<name>/equity_curve.csv``, ``trades.csv``, ``signals.csv`` and, last of all, ``results.json``, which holds
the sha256 of the three. A report is written once: the same name takes the same bytes again and no others.

Columns and names are the brief's. Amounts are exact; ratios are computed with 60 digits and rounded once, at the edge,
where they become per cent as in the brief's sample. What is undefined is null.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Literal

from assets.accounting.precision import EXACT, ZERO, logged, logged_ratio, posted, quotient
from resources.documents import Document, dump_document, sha256_hex, to_iso
from resources.store import AlreadyExists, Store, is_key

Side = Literal["buy", "sell"]

EQUITY_COLUMNS = ("datetime", "equity", "cash")
TRADE_COLUMNS = ("symbol", "side", "qty", "price", "fee", "strategy", "cost", "proceeds")
# From the brief's signal payload; ``status`` is filled, partial or refused, ``reason`` says why not filled whole.
SIGNAL_COLUMNS = (
    "signal_id", "timestamp", "pair", "side", "strategy", "confidence", "qty", "notional", "status", "reason",
)  # fmt: skip
EQUITY, TRADES, SIGNALS, RESULTS = "equity_curve.csv", "trades.csv", "signals.csv", "results.json"

DAYS_PER_YEAR = 365
PROVISIONAL_BELOW = 30  # days: fewer give a ratio that says little
_LEAST_DEVIATION = Decimal("1e-12")
_RATIOS = Context(prec=60, rounding=ROUND_HALF_EVEN)

DEFINITIONS = {
    "total_return": "per cent; time-weighted: the equity index over the period without deposits and withdrawals",
    "sharpe_ratio": "mean / standard deviation (n - 1) of daily returns * sqrt(365), no risk-free rate; "
    "null below two whole days or without variation",
    "volatility": "per cent; standard deviation (n - 1) of daily returns * sqrt(365); null below two whole days",
    "max_drawdown": "per cent, zero or negative; lowest of index / running maximum - 1 over all points of the curve",
    "daily_return": "last equity strictly before 00:00 UTC over that of the day before plus the day's flows, - 1",
    "total_trades": "fills, the rows of trades.csv, not round trips",
    "signal_to_trade_ratio": "total_signals / total_trades",
    "win_rate": "per cent of closed round trips with a net P&L above zero; null when none is closed",
    "round_trip": "from flat to flat of one strategy in one symbol (or one group of legs), net of fees and funding",
    "cost": "qty * price + fee of a buy",
    "proceeds": "qty * price - fee of a sale",
    "identity": "final_equity - start_value = sum of proceeds - sum of cost + held_value - opening_value + funding "
    "+ net_flows, exactly",
}


class ReportError(Exception):
    """A report cannot be made or stored."""


class MixedCurrencies(ReportError):
    """Amounts in different quote currencies would be added up (the brief's sample adds BTC/EUR to BTC/USD)."""


class ReportContradiction(ReportError):
    """The values handed over cannot all be true; the message has the numbers."""


class ReportExists(ReportError):
    """Another report has this name; it is left as it is."""


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """Equity and cash at ``time`` (UTC), in the report's currency."""

    time: datetime
    equity: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill: ``quantity`` and ``price`` above 0, ``fee`` >= 0 in ``currency``, the symbol's quote currency.

    ``group``: what is flat or not together, where a trade has several legs; empty means the symbol alone.
    """

    trade_id: str
    time: datetime
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    strategy: str
    currency: str
    group: str = ""

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "buy" else self.quantity.copy_negate()

    @property
    def amount(self) -> Decimal:
        """``cost`` of a buy, ``proceeds`` of a sale (reference/trading.md 3.6)."""
        notional = EXACT.multiply(self.quantity, self.price)
        return EXACT.add(notional, self.fee) if self.side == "buy" else EXACT.subtract(notional, self.fee)

    @property
    def paid(self) -> Decimal:
        """What the cash account gained by this fill: proceeds, or minus cost."""
        return self.amount.copy_negate() if self.side == "buy" else self.amount


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """One signal and what became of it: ``status`` filled, partial or refused; ``reason`` empty when filled whole."""

    signal_id: str
    time: datetime
    symbol: str
    side: Side
    strategy: str
    confidence: Decimal | None
    quantity: Decimal | None
    notional: Decimal | None
    status: Literal["filled", "partial", "refused"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """Funding received (> 0) or paid on a symbol; ``group`` as in Trade."""

    time: datetime
    symbol: str
    amount: Decimal
    group: str = ""


@dataclass(frozen=True, slots=True)
class CapitalFlow:
    """Capital deposited (> 0) or withdrawn: moves equity, never a return."""

    time: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """What was held at the beginning: signed quantity, valued at ``price`` within the starting value."""

    symbol: str
    quantity: Decimal
    price: Decimal
    strategy: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report is computed from. All amounts in ``currency``.

    ``points``: strictly ascending, the last one at the end. ``prices``: the closing mark of every symbol that some
    strategy still holds.
    ``source``: whose market it was (SIMULATED, REPLAY, ...). ``coverage``: what the data check found, by symbol, over
    the span in which the symbol was needed.
    ``funding_not_booked``: settlements on something held that came without a usable rate or mark.
    ``funding_not_recorded``: when a settlement was due on something held and the market has none. ``stale_points``:
    points of the curve at which a held symbol had to be valued at a mark that was too old.
    Raises MixedCurrencies, or ReportContradiction when the last point's equity is not, to the last digit, what the
    fills, funding and flows leave.
    """

    currency: str
    source: str
    start_value: Decimal
    points: tuple[EquityPoint, ...]
    trades: tuple[Trade, ...]
    signals: tuple[SignalRecord, ...]
    prices: Mapping[str, Decimal]
    funding: tuple[FundingPayment, ...] = ()
    flows: tuple[CapitalFlow, ...] = ()
    opening: tuple[Holding, ...] = ()
    coverage: Mapping[str, Document] = field(default_factory=dict)
    funding_not_booked: tuple[tuple[datetime, str], ...] = ()
    funding_not_recorded: tuple[tuple[datetime, str], ...] = ()
    stale_points: int = 0

    def __post_init__(self) -> None:
        currencies = {trade.currency for trade in self.trades} | {self.currency}
        if len(currencies) > 1:
            raise MixedCurrencies(
                f"a report in {self.currency} cannot add up {', '.join(sorted(currencies - {self.currency}))}"
            )
        if not self.points or self.start_value <= 0:
            raise ReportContradiction(f"{len(self.points)} equity points, start value {self.start_value}")
        for earlier, later in zip(self.points, self.points[1:], strict=False):
            if later.time <= earlier.time:
                raise ReportContradiction(f"equity points are not in ascending order at {later.time}")
        for trade in self.trades:
            if not (trade.quantity > 0 and trade.price > 0 and trade.fee >= 0):
                raise ReportContradiction(
                    f"trade {trade.trade_id}: quantity {trade.quantity}, price {trade.price}, fee {trade.fee}"
                )
        ids = [trade.trade_id for trade in self.trades]
        if len(set(ids)) < len(ids):
            raise ReportContradiction("trade ids repeat")
        missing = sorted(self._owned - self.prices.keys())
        if missing:
            raise ReportContradiction(f"no closing price for {', '.join(missing)}")
        with localcontext(EXACT):
            due = self.start_value + self.net_flows + self.traded + self.funding_total
            due += self.held_value - self.opening_value
        if due != self.final_equity:
            raise ReportContradiction(f"the last point says {self.final_equity}, fills and funding leave {due}")

    @property
    def final_equity(self) -> Decimal:
        return self.points[-1].equity

    @property
    def held(self) -> dict[str, Decimal]:
        """Signed quantity still held, by symbol in order."""
        held: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for holding in self.opening:
                held[holding.symbol] = held.get(holding.symbol, ZERO) + holding.quantity
            for trade in self.trades:
                held[trade.symbol] = held.get(trade.symbol, ZERO) + trade.signed
        return {symbol: quantity for symbol, quantity in sorted(held.items()) if quantity}

    @property
    def _owned(self) -> set[str]:
        """Symbols some strategy still holds, though what two of them hold may come to nothing together."""
        owned: dict[tuple[str, str, str], Decimal] = {}
        with localcontext(EXACT):
            for holding in self.opening:
                key = (holding.strategy, holding.group, holding.symbol)
                owned[key] = owned.get(key, ZERO) + holding.quantity
            for trade in self.trades:
                key = (trade.strategy, trade.group, trade.symbol)
                owned[key] = owned.get(key, ZERO) + trade.signed
        return {symbol for (_, _, symbol), quantity in owned.items() if quantity}

    @property
    def held_value(self) -> Decimal:
        return _total(EXACT.multiply(quantity, self.prices[symbol]) for symbol, quantity in self.held.items())

    @property
    def opening_value(self) -> Decimal:
        return _total(EXACT.multiply(holding.quantity, holding.price) for holding in self.opening)

    @property
    def traded(self) -> Decimal:
        """Sum of proceeds minus sum of cost."""
        return _total(trade.paid for trade in self.trades)

    @property
    def funding_total(self) -> Decimal:
        return _total(payment.amount for payment in self.funding)

    @property
    def net_flows(self) -> Decimal:
        return _total(flow.amount for flow in self.flows)


def _total(amounts: Iterable[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(amounts, ZERO)


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat; ``net`` is after fees and funding. ``closed`` is None while open, and ``net`` at the marks."""

    strategy: str
    group: str
    opened: datetime
    closed: datetime | None
    net: Decimal
    trades: int


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """``unattributed``: funding on what no strategy held, at the time it was paid."""

    closed: tuple[RoundTrip, ...]
    open: tuple[RoundTrip, ...]
    unattributed: Decimal


class _Trip:
    def __init__(self, opened: datetime) -> None:
        self.opened = opened
        self.cash = ZERO
        self.held: dict[str, Decimal] = {}
        self.trades = 0

    def take(self, symbol: str, signed: Decimal, cash: Decimal) -> bool:
        """Book a part of a fill; True when nothing is held any more."""
        self.held[symbol] = self.held.get(symbol, ZERO) + signed
        self.cash += cash
        self.trades += 1
        return not any(self.held.values())


def round_trips(report: Report) -> RoundTrips:
    """Round trips per (strategy, group), with funding shared among those who held the symbol, by quantity.

    A fill that crosses zero ends one trip and begins the next; its fee is divided by quantity, 8 decimals, the rest
    going to the new trip. No lots are needed: what a trip earned is what its fills and funding paid.
    """
    trips: dict[tuple[str, str], _Trip] = {}
    closed: list[RoundTrip] = []
    unattributed = ZERO
    begin = report.points[0].time
    events: list[tuple[datetime, int, int, FundingPayment | Trade]] = [
        *((payment.time, 0, number, payment) for number, payment in enumerate(report.funding)),
        *((trade.time, 1, number, trade) for number, trade in enumerate(report.trades)),
    ]
    with localcontext(EXACT):
        for holding in report.opening:
            trip = trips.setdefault((holding.strategy, holding.group or holding.symbol), _Trip(begin))
            trip.take(holding.symbol, holding.quantity, -holding.quantity * holding.price)
            trip.trades = 0
        for _, _, _, event in sorted(events, key=lambda each: each[:3]):
            if isinstance(event, FundingPayment):
                unattributed += _share(event, trips)
                continue
            key = (event.strategy, event.group or event.symbol)
            for signed, cash in _parts(event, trips.get(key)):
                trip = trips.setdefault(key, _Trip(event.time))
                if trip.take(event.symbol, signed, cash):
                    del trips[key]
                    closed.append(RoundTrip(*key, trip.opened, event.time, trip.cash, trip.trades))
        still = tuple(
            RoundTrip(
                *key, trip.opened, None,
                trip.cash + sum((q * report.prices[symbol] for symbol, q in trip.held.items() if q), ZERO), trip.trades,
            )
            for key, trip in sorted(trips.items())
        )  # fmt: skip
    return RoundTrips(tuple(closed), still, unattributed)


def _parts(trade: Trade, trip: _Trip | None) -> list[tuple[Decimal, Decimal]]:
    """(signed quantity, cash) of a fill: two parts where it goes through zero and leaves nothing else held."""
    held = ZERO if trip is None else trip.held.get(trade.symbol, ZERO)
    others = trip is not None and any(q for symbol, q in trip.held.items() if symbol != trade.symbol)
    crosses = bool(held) and (held < 0) != (trade.signed < 0) and abs(held) < trade.quantity
    if others or not crosses:
        return [(trade.signed, trade.paid)]
    fee = posted(quotient(trade.fee * abs(held), trade.quantity))
    closing = -held
    opening = trade.signed - closing
    return [(closing, -closing * trade.price - fee), (opening, -opening * trade.price - (trade.fee - fee))]


def _share(payment: FundingPayment, trips: Mapping[tuple[str, str], _Trip]) -> Decimal:
    """Divide a payment by signed quantity; returns what nobody can be given."""
    holding = [
        (trip, trip.held[payment.symbol])
        for (_, group), trip in sorted(trips.items())
        if trip.held.get(payment.symbol) and payment.group in ("", group)
    ]
    net = sum((quantity for _, quantity in holding), ZERO)
    if not net:
        return payment.amount
    left = payment.amount
    for trip, quantity in holding[:-1]:
        part = posted(quotient(payment.amount * quantity, net))
        trip.cash += part
        left -= part
    holding[-1][0].cash += left
    return ZERO


@dataclass(frozen=True, slots=True)
class DailyReturns:
    """Returns of whole UTC days; ``carried`` days had no point and count as no return, ``breaks`` gaps were longer."""

    returns: tuple[Decimal, ...]
    carried: int
    breaks: int


def daily_returns(start_value: Decimal, points: Sequence[EquityPoint], flows: Sequence[CapitalFlow]) -> DailyReturns:
    """r_d = PV_d / (PV_{d-1} + flow_d) - 1 with PV_d the last equity strictly before the next 00:00 UTC.

    The first day runs from ``start_value``; a last day that is not over has no return (reference/trading.md 3.7).
    """
    closes = {point.time.date(): point.equity for point in points}
    unfinished = points[-1].time.date()
    returns: list[Decimal] = []
    carried = breaks = missing = 0
    base: Decimal | None = start_value
    day = points[0].time.date()
    with localcontext(_RATIOS):
        while day < unfinished:
            flow = _flows_on(day, flows)
            close = closes.get(day)
            day += timedelta(days=1)
            base = None if base is None else base + flow
            if close is None:
                missing += 1
                if missing > 1:
                    base = None
                continue
            if base is None or base <= 0:
                breaks += 1
            else:
                returns += [ZERO] * missing + [close / base - 1]
                carried += missing
            base, missing = close, 0
    return DailyReturns(tuple(returns), carried, breaks)


def _flows_on(day: date, flows: Sequence[CapitalFlow]) -> Decimal:
    return sum((flow.amount for flow in flows if flow.time.date() == day), ZERO)


def volatility_and_sharpe(returns: Sequence[Decimal]) -> tuple[Decimal | None, Decimal | None]:
    """(annualised standard deviation as a fraction, annualised Sharpe ratio) of daily returns; None where undefined."""
    if len(returns) < 2:
        return None, None
    with localcontext(_RATIOS):
        mean = sum(returns, ZERO) / len(returns)
        deviation = (sum(((r - mean) ** 2 for r in returns), ZERO) / (len(returns) - 1)).sqrt()
        year = Decimal(DAYS_PER_YEAR).sqrt()
        return deviation * year, None if deviation < _LEAST_DEVIATION else mean / deviation * year


def return_and_drawdown(
    start_value: Decimal, points: Sequence[EquityPoint], flows: Sequence[CapitalFlow]
) -> tuple[Decimal | None, Decimal | None]:
    """(total return, maximum drawdown <= 0) as fractions on the flow-adjusted index that starts at 1.

    None where a withdrawal took all there was, so that no index can go on.
    """
    due = sorted(flows, key=lambda flow: flow.time)
    with localcontext(_RATIOS):
        index = peak = Decimal(1)
        lowest, previous = ZERO, start_value
        for point in points:
            while due and due[0].time <= point.time:
                previous += due.pop(0).amount
            if previous <= 0:
                return None, None
            index *= point.equity / previous
            previous = point.equity
            peak = max(peak, index)
            lowest = min(lowest, index / peak - 1)
        return index - 1, lowest


def _per_cent(fraction: Decimal | None) -> Decimal | None:
    return None if fraction is None else logged(fraction * 100)


def results_document(report: Report) -> Document:
    """The brief's results under the brief's names, and beside them what makes them checkable."""
    daily = daily_returns(report.start_value, report.points, report.flows)
    volatility, sharpe = volatility_and_sharpe(daily.returns)
    total_return, drawdown = return_and_drawdown(report.start_value, report.points, report.flows)
    trips = round_trips(report)
    won = sum(trip.net > 0 for trip in trips.closed)
    fills, signals = len(report.trades), len(report.signals)
    return {
        "total_return": _per_cent(total_return),
        "sharpe_ratio": None if sharpe is None else logged(sharpe),
        "max_drawdown": _per_cent(drawdown),
        "final_equity": report.final_equity,
        "start_value": report.start_value,
        "volatility": _per_cent(volatility),
        "total_trades": fills,
        "total_signals": signals,
        "signal_to_trade_ratio": logged_ratio(Decimal(signals), Decimal(fills)) if fills else None,
        "win_rate": logged_ratio(Decimal(100 * won), Decimal(len(trips.closed))) if trips.closed else None,
        "definitions": dict(DEFINITIONS),
        "period": {"start": to_iso(report.points[0].time), "end": to_iso(report.points[-1].time)},
        "points": len(report.points),
        "currency": report.currency,
        "source": report.source,
        "annualisation": {
            "days_per_year": DAYS_PER_YEAR,
            "daily_returns": len(daily.returns),
            "carried_days": daily.carried,
            "breaks": daily.breaks,
            "provisional": len(daily.returns) < PROVISIONAL_BELOW,
        },
        "round_trips": {
            "closed": len(trips.closed),
            "won": won,
            "open": len(trips.open),
            "closed_net_pnl": _total(trip.net for trip in trips.closed),
            "open_net_pnl": _total(trip.net for trip in trips.open),
            "unattributed_funding": trips.unattributed,
        },
        "fees": _total(trade.fee for trade in report.trades),
        "funding": report.funding_total,
        "funding_not_booked": [{"time": to_iso(time), "symbol": symbol} for time, symbol in report.funding_not_booked],
        "stale_points": report.stale_points,
        "net_flows": report.net_flows,
        "held": report.held,
        "held_value": report.held_value,
        "opening_value": report.opening_value,
        "short_selling": True,
        # The brief's trade rows have neither id nor time: here they are, row by row.
        "trade_rows": [{"id": trade.trade_id, "time": to_iso(trade.time)} for trade in report.trades],
        "coverage": dict(report.coverage),
    } | _not_recorded(report)


def _not_recorded(report: Report) -> Document:
    """Nothing where all funding is recorded: the bytes of reports stored before there was the key come out again."""
    times: dict[str, list[datetime]] = {}
    for time, symbol in report.funding_not_recorded:
        times.setdefault(symbol, []).append(time)
    found = {
        symbol: {"settlements": len(missing), "first": to_iso(missing[0]), "last": to_iso(missing[-1])}
        for symbol, missing in sorted(times.items())
    }
    return {"funding_not_recorded": found} if found else {}


def report_files(report: Report) -> dict[str, bytes]:
    """The four files by name, results.json last; the same report always gives the same bytes."""
    files = {
        EQUITY: _csv(EQUITY_COLUMNS, ((stamp(p.time), plain(p.equity), plain(p.cash)) for p in report.points)),
        TRADES: _csv(TRADE_COLUMNS, (_trade_row(trade) for trade in report.trades)),
        SIGNALS: _csv(SIGNAL_COLUMNS, (_signal_row(signal) for signal in report.signals)),
    }
    document = results_document(report) | {"sha256": {name: sha256_hex(data) for name, data in files.items()}}
    return files | {RESULTS: dump_document(document)}


def report_key(name: str, file: str) -> str:
    """Where a report's file lies. Raises ReportError for a name that is no single folder name."""
    if "/" in name or name != name.strip() or not name.isprintable() or not is_key(f"reports/{name}/{RESULTS}"):
        raise ReportError(f"{name!r} is no name for a report: one folder name, without slashes")
    return f"reports/{name}/{file}"


def write_report(store: Store, name: str, report: Report) -> Document:
    """Store the report as ``reports/<name>/``, once, and return its results document.

    A report killed half-way is finished by writing it again. Raises ReportExists when the name holds other bytes
    (nothing is changed then), ReportError for a name that cannot be stored.
    """
    files = report_files(report)
    for file, data in files.items():
        key = report_key(name, file)
        try:
            store.create(key, data)
        except AlreadyExists:
            if store.read(key).data != data:
                raise ReportExists(f"{key} in {store.url} holds another report: choose another name") from None
    return results_document(report)


def stamp(instant: datetime) -> str:
    """A UTC instant as the brief's files have it: 2025-05-24 12:00:00+00:00."""
    return to_iso(instant).replace("T", " ").replace(".000000", "")


def plain(number: Decimal | None) -> str:
    """A number in full, without exponent; nothing for None."""
    return "" if number is None else format(number, "f")


def _trade_row(trade: Trade) -> tuple[str, ...]:
    amounts = ("", plain(trade.amount)) if trade.side == "sell" else (plain(trade.amount), "")
    return (
        trade.symbol, trade.side, plain(trade.quantity), plain(trade.price), plain(trade.fee), trade.strategy, *amounts,
    )  # fmt: skip


def _signal_row(signal: SignalRecord) -> tuple[str, ...]:
    return (
        signal.signal_id, stamp(signal.time), signal.symbol, signal.side, signal.strategy, plain(signal.confidence),
        plain(signal.quantity), plain(signal.notional), signal.status, signal.reason,
    )  # fmt: skip


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
