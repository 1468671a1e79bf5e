"""The book: identities A1-A3, A9-A12 of reference/trading.md 3.1 against an oracle that uses Fractions only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.book import MEMORY, Book, LedgerError
from assets.accounting.events import Baseline, Event, Fill, Flow, Funding, from_document, to_document
from assets.accounting.pnl import portfolio_value, portfolio_value_from_lots, valuation
from resources.documents import dump_document, load_document

T = datetime(2026, 11, 20, tzinfo=UTC)
C0 = Decimal(1_000_000)
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


def fill(
    number: int,
    quantity: str | Decimal,
    price: str | Decimal,
    *,
    fee: str = "0",
    symbol: str = "AUSDT",
    time: datetime = T,
    strategies: dict[str, Decimal] | None = None,
) -> Fill:
    return Fill(
        f"fill:{number}", time, symbol, Decimal(quantity), Decimal(price), Decimal(fee), f"o{number}", "r",
        strategies or {"trend": Decimal(1)},
    )  # fmt: skip


def funding(number: int, amount: str, time: datetime = T) -> Funding:
    return Funding(f"funding:{number}", time, "AUSDT", Decimal(1), Decimal(1), Decimal(0), Decimal(amount))


def book_of(*events: Event) -> Book:
    book = Book(C0)
    book.apply_all(events)
    return book


class Oracle:
    """Positions and amounts by definition, in Fractions: nothing of the book's own arithmetic."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.quantity: dict[str, Fraction] = {}
        self.lots: dict[str, list[list[Fraction]]] = {}
        self.cash = Fraction(C0)
        self.flows = self.fees = self.funding = self.realised = Fraction(0)
        seen: set[str] = set()
        for event in events:
            if event.event_id in seen:
                continue
            seen.add(event.event_id)
            if isinstance(event, Fill):
                self._fill(event)
            elif isinstance(event, Funding):
                self.cash += Fraction(event.amount)
                self.funding += Fraction(event.amount)
            elif isinstance(event, Flow):
                self.cash += Fraction(event.amount)
                self.flows += Fraction(event.amount)

    def _fill(self, event: Fill) -> None:
        quantity, price = Fraction(event.quantity), Fraction(event.price)
        self.cash -= quantity * price + Fraction(event.fee)
        self.fees += Fraction(event.fee)
        self.quantity[event.symbol] = self.quantity.get(event.symbol, Fraction(0)) + quantity
        lots = self.lots.setdefault(event.symbol, [])
        # Match unit by unit in principle; here by the largest common piece with the oldest opposite lot.
        while quantity and lots and (lots[0][0] > 0) != (quantity > 0):
            piece = min(abs(lots[0][0]), abs(quantity)) * (1 if lots[0][0] > 0 else -1)
            self.realised += piece * (price - lots[0][1])
            lots[0][0] -= piece
            quantity += piece
            if not lots[0][0]:
                del lots[0]
        if quantity:
            lots.append([quantity, price])

    def value(self, prices: dict[str, Decimal]) -> Fraction:
        return self.cash + sum(q * Fraction(prices[s]) for s, q in self.quantity.items())


digits = st.integers(-500_000, 500_000).filter(bool)
exponents = st.integers(0, 6)
quantities = st.builds(lambda n, e: Decimal(n).scaleb(-e), digits, exponents)
prices = st.builds(lambda n, e: Decimal(n).scaleb(-e), st.integers(1, 10_000_000), st.integers(0, 7))
money = st.builds(lambda n: Decimal(n).scaleb(-8), st.integers(-(10**13), 10**13))
marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))


@st.composite
def histories(draw: st.DrawFn, flows: bool = True) -> list[Event]:
    events: list[Event] = []
    kinds = ["fill", "fill", "fill", "funding"] + (["flow"] if flows else [])
    for number in range(draw(st.integers(0, 25))):
        time = T + timedelta(minutes=number)
        match draw(st.sampled_from(kinds)):
            case "fill":
                symbol, fee = draw(st.sampled_from(SYMBOLS)), abs(draw(money))
                events.append(
                    Fill(f"f{number}", time, symbol, draw(quantities), draw(prices), fee, "o", "r", {"a": Decimal(1)})
                )
            case "funding":
                events.append(
                    Funding(f"g{number}", time, "AUSDT", Decimal(1), Decimal(1), Decimal("0.0001"), draw(money))
                )
            case _:
                amount = draw(st.integers(-(10**12), 10**12).filter(bool))
                events.append(Flow(f"d{number}", time, Decimal(amount).scaleb(-6), "note"))
    return events


@given(histories(), marks)
def test_every_amount_equals_the_oracles_exactly(events: list[Event], prices: dict[str, Decimal]) -> None:
    """A1, A2, A3: positions are sums of fills and of open lots; both views of PV are one number, without rounding."""
    book, oracle = book_of(*events), Oracle(events)
    assert {s: Fraction(q) for s, q in book.held().items()} == {s: q for s, q in oracle.quantity.items() if q}
    for symbol, position in book.positions.items():
        assert sum((lot[0] for lot in position.lots), Decimal(0)) == position.quantity
        assert [[Fraction(q), Fraction(p)] for q, p in position.lots] == oracle.lots[symbol]
    for name in ("cash", "fees", "funding", "flows", "realised"):
        assert Fraction(getattr(book, name)) == getattr(oracle, name), name
    assert Fraction(portfolio_value(book, prices)) == oracle.value(prices)
    assert portfolio_value(book, prices) == portfolio_value_from_lots(book, prices)


def test_a_flip_realises_the_old_side_and_opens_the_rest_at_the_fills_price() -> None:
    book = book_of(fill(1, "3", "100"), fill(2, "2", "110"), fill(3, "-7", "120"))
    assert book.realised == 3 * 20 + 2 * 10
    assert book.held() == {"AUSDT": Decimal(-2)}
    assert [list(lot) for lot in book.positions["AUSDT"].lots] == [[Decimal(-2), Decimal(120)]]


def test_lots_are_closed_first_in_first_out() -> None:
    book = book_of(fill(1, "1", "100"), fill(2, "1", "200"), fill(3, "-1.5", "300"))
    assert book.realised == 200 + Decimal("0.5") * 100
    assert [list(lot) for lot in book.positions["AUSDT"].lots] == [[Decimal("0.5"), Decimal(200)]]


def test_a_short_gains_when_the_price_falls() -> None:
    book = book_of(fill(1, "-4", "50"), fill(2, "4", "45"))
    assert book.realised == 20
    assert book.cash == C0 + 20
    assert book.held() == {}


@given(histories(), st.lists(st.integers(1, 9), min_size=1, max_size=5), prices, quantities, marks)
def test_splitting_a_fill_at_one_price_changes_nothing(
    events: list[Event], shares: list[int], price: Decimal, quantity: Decimal, prices: dict[str, Decimal]
) -> None:
    time = T + timedelta(hours=1)
    whole = quantity * sum(shares)
    parts = [fill(1000 + n, quantity * share, price, time=time) for n, share in enumerate(shares)]
    one, many = book_of(*events, fill(999, whole, price, time=time)), book_of(*events, *parts)
    assert (one.cash, one.realised, one.held()) == (many.cash, many.realised, many.held())
    assert portfolio_value_from_lots(one, prices) == portfolio_value_from_lots(many, prices)


@given(histories(flows=False), marks)
def test_mirrored_fills_give_mirrored_gains(events: list[Event], prices: dict[str, Decimal]) -> None:
    """Long and short go through one code path: without fees and funding, -q everywhere gives -P&L."""
    fills = [e for e in events if isinstance(e, Fill)]
    plain = [fill(n, e.quantity, e.price, symbol=e.symbol) for n, e in enumerate(fills)]
    mirrored = [fill(n, e.quantity.copy_negate(), e.price, symbol=e.symbol) for n, e in enumerate(fills)]
    one, other = book_of(*plain), book_of(*mirrored)
    assert one.realised == other.realised.copy_negate()
    assert Fraction(portfolio_value(one, prices)) - Fraction(C0) == Fraction(C0) - Fraction(
        portfolio_value(other, prices)
    )


@given(histories(), marks, st.integers(1, 10**6).map(lambda n: Decimal(n).scaleb(-4)))
def test_raising_every_mark_by_delta_moves_the_value_by_delta_times_the_net_quantity(
    events: list[Event], prices: dict[str, Decimal], delta: Decimal
) -> None:
    book = book_of(*events)
    raised = {symbol: price + delta for symbol, price in prices.items()}
    net = sum((Fraction(q) for q in book.held().values()), Fraction(0))
    moved = Fraction(portfolio_value(book, raised)) - Fraction(portfolio_value(book, prices))
    assert moved == Fraction(delta) * net


@given(histories(), marks, st.integers(-(10**12), 10**12).filter(bool).map(lambda n: Decimal(n).scaleb(-6)))
def test_a_deposit_moves_the_value_and_no_gain(
    events: list[Event], prices: dict[str, Decimal], amount: Decimal
) -> None:
    """A9."""
    before = valuation(book_of(*events), prices)
    after = valuation(book_of(*events, Flow("deposit", T + timedelta(days=1), amount, "")), prices)
    assert after.portfolio_value == before.portfolio_value + amount
    assert after.net_flows == before.net_flows + amount
    assert (after.total_pnl, after.daily_pnl, after.base_cumulative) == (
        before.total_pnl, before.daily_pnl, before.base_cumulative,
    )  # fmt: skip


def test_a_flow_finer_than_the_log_is_refused() -> None:
    """total_pnl = PV - C0 - F is logged with 6 decimals, so F must have no more (A4)."""
    with pytest.raises(LedgerError, match="6 decimals"):
        book_of(Flow("d", T, Decimal("1.0000001"), ""))


@given(st.lists(st.tuples(quantities, prices, st.integers(0, 100)), min_size=1, max_size=12), prices)
def test_strategy_books_sum_to_the_book(trades: list[tuple[Decimal, Decimal, int]], mark: Decimal) -> None:
    """A10: positions, cash, fees and value of the strategies' shares sum to the book's."""
    shares = [Decimal(percent).scaleb(-2) for _, _, percent in trades]
    split = [{"trend": share, "carry": 1 - share} for share in shares]
    book = book_of(*(fill(n, q, p, fee="0.1", strategies=split[n]) for n, (q, p, _) in enumerate(trades)))
    children = []
    for name in ("trend", "carry"):
        child = Book(Decimal(0))
        child.apply_all(
            Fill(f.event_id, f.time, f.symbol, f.quantity * f.strategies[name], f.price, f.fee * f.strategies[name],
                 f.order_id, f.rebalance_id, {name: Decimal(1)})
            for f in (fill(n, q, p, fee="0.1", strategies=split[n]) for n, (q, p, _) in enumerate(trades))
            if f.strategies[name]
        )  # fmt: skip
        children.append(child)
    held = sum((Fraction(child.quantity("AUSDT")) for child in children), Fraction(0))
    assert held == Fraction(book.quantity("AUSDT"))
    assert sum(Fraction(child.cash) for child in children) == Fraction(book.cash - C0)
    assert sum(Fraction(child.fees) for child in children) == Fraction(book.fees)
    prices = {"AUSDT": mark}
    total = sum(Fraction(portfolio_value(child, prices)) for child in children)
    assert total == Fraction(portfolio_value(book, prices)) - Fraction(C0)


@given(histories(), st.randoms())
def test_repeated_events_change_nothing(events: list[Event], random: object) -> None:
    """A12: each event again, anywhere after its first time."""
    repeated = list(events)
    for event in events:
        position = repeated.index(event)
        repeated.insert(random.randint(position + 1, len(repeated)), event)  # type: ignore[attr-defined]
    assert book_of(*repeated).to_document() == book_of(*events).to_document()


def test_an_event_too_old_to_be_told_from_a_repeat_is_refused() -> None:
    """Silently counting it twice would be worse than stopping; the ledger looks such ids up in its segments."""
    book = book_of(fill(1, "1", "10"), fill(2, "1", "10", time=T + MEMORY + timedelta(seconds=1)))
    assert not book.knows("fill:1")
    with pytest.raises(LedgerError, match="older than"):
        book.apply_all([fill(1, "1", "10")])
    assert book.quantity("AUSDT") == 2


def test_funding_that_arrives_late_and_out_of_order_counts_once() -> None:
    late = [funding(2, "-3", T + timedelta(hours=8)), funding(1, "5", T), funding(2, "-3", T + timedelta(hours=8))]
    book = book_of(*late, funding(1, "5", T))
    assert (book.funding, book.cash) == (2, C0 + 2)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0"), (0, "0"), (1, "2"), (60, "2"), (61, "5"), (600, "5"), (601, "-1")],
    ids=["before", "at the first fill", "after it", "at the second", "after it", "at the third", "after it"],
)
def test_quantity_before_an_instant_excludes_what_trades_at_it(seconds: int, expected: str) -> None:
    """A funding settlement at T charges what was held strictly before T."""
    book = book_of(
        fill(1, "2", "10"),
        fill(2, "3", "10", time=T + timedelta(seconds=60)),
        fill(3, "-6", "10", time=T + timedelta(seconds=600)),
        fill(4, "9", "10", time=T, symbol="BUSDT"),
    )
    assert book.held_before("AUSDT", T + timedelta(seconds=seconds)) == Decimal(expected)


def test_what_was_closed_recently_is_still_known_to_late_funding() -> None:
    book = book_of(fill(1, "2", "10"), fill(2, "-2", "10", time=T + timedelta(days=3)))
    assert book.held() == {}
    assert book.recently_held() == {"AUSDT"}
    assert book.held_before("AUSDT", T + timedelta(days=3)) == 2


@pytest.mark.parametrize(
    ("quantity", "price", "fee"), [("0", "10", "0"), ("1", "0", "0"), ("1", "-1", "0"), ("1", "10", "-0.01")]
)
def test_an_impossible_fill_is_refused(quantity: str, price: str, fee: str) -> None:
    with pytest.raises(LedgerError):
        book_of(fill(1, quantity, price, fee=fee))


def test_nothing_is_rounded_to_the_ordinary_28_digits() -> None:
    """Python's default context rounds silently; the book's does not round at all."""
    quantity, price = "12345678901234567.12345678", "98765432109.87654321"
    book = book_of(fill(1, quantity, price))
    assert Fraction(book.cash) == Fraction(C0) - Fraction(quantity) * Fraction(price)
    assert Fraction(book.held_before("AUSDT", T)) == 0
    assert portfolio_value(book, {"AUSDT": Decimal(price)}) == C0


@given(histories(), st.integers(0, 25))
def test_a_stored_book_plus_later_events_is_the_full_replay(events: list[Event], cut: int) -> None:
    """A11, through JSON and back."""
    stored = load_document(dump_document(book_of(*events[:cut]).to_document()))
    resumed = Book.from_document(stored)
    resumed.apply_all(events[cut:])
    assert resumed.to_document() == book_of(*events).to_document()
    assert resumed.held() == book_of(*events).held()


@given(histories(), marks)
def test_events_survive_json(events: list[Event], prices: dict[str, Decimal]) -> None:
    baseline = Baseline("b", T, "r", Decimal("1.5"), Decimal(0), prices, {"AUSDT": Decimal("-0.001")})
    for event in (*events, baseline):
        assert from_document(load_document(dump_document(to_document(event)))) == event


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "fil"},
        {"quantity": "1"},
        {"quantity": True},
        {"quantity": None},
        {"symbol": 5},
        {"strategies": []},
        {"time": "2026-11-20"},
    ],
    ids=str,
)
def test_a_stored_event_of_the_wrong_shape_is_refused(damage: dict[str, object]) -> None:
    document = to_document(fill(1, "1", "10"))
    with pytest.raises(ValueError, match=r"unknown|must|cannot|without"):
        from_document(document | damage)
    with pytest.raises(ValueError, match="lacks"):
        from_document({key: value for key, value in document.items() if key not in damage} | {"kind": "fill"} if
                      "kind" not in damage else {"kind": "fill"})  # fmt: skip
