"""Events and the brief's structures as JSON: exact both ways, and nothing that is not one is read."""

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given, settings

from assets.arbitrage.codec import (
    from_document,
    listing_from_document,
    rules_from_document,
    to_document,
    to_line,
    value_from_document,
    value_to_document,
)
from assets.arbitrage.events import Event, FlowPosted, Halted
from assets.arbitrage.metrics import portfolio_metrics
from assets.arbitrage.model import (
    Leg,
    LegOutEvent,
    PaperTrade,
    PortfolioMetrics,
    PortfolioState,
    QueuePosition,
    SimulatedOrder,
)
from assets.arbitrage.rules import Rules
from resources.documents import Document, dump_document, load_document
from tests.arbitrage_parts import DAY_NS, LISTINGS, LogWriter, logs, rich_log, without

# Typed from brief 3, "Core Data Structures" and "Metrics Calculation".
BRIEF = {
    PaperTrade: "id symbol long_exchange short_exchange entry_time entry_long_price entry_short_price "
    "entry_spread_bps position_size_usd funding_delta_entry projected_profit_usd actual_profit_usd status exit_reason "
    "exit_time long_order short_order leg_out_event",
    SimulatedOrder: "id exchange symbol side order_type price size queue_position created_at filled_at fill_price "
    "status",
    QueuePosition: "price cumulative_volume_at_price resting_depth_at_entry fill_threshold_pct is_filled",
    LegOutEvent: "filled_leg filled_at unfilled_leg hedge_executed hedge_price",
    PortfolioState: "starting_capital available_capital total_open_positions active_trades closed_trades "
    "cumulative_pnl win_count loss_count leg_out_count leg_out_total_loss",
    PortfolioMetrics: "total_trades win_rate cumulative_pnl pnl_percentage available_capital utilization_pct "
    "leg_out_count leg_out_loss_pct realistic_apr",
}


def through_json(document: Document) -> Document:
    return load_document(dump_document(document))


def test_the_rich_log_has_every_kind_of_event() -> None:
    assert {type(event) for event in rich_log().events} == set(get_args(Event))


@settings(max_examples=40)
@given(logs())
def test_an_event_survives_its_line_exactly(log: LogWriter) -> None:
    for event in [*log.events, *rich_log().events]:
        line = to_line(event)
        read = from_document(load_document(line))
        assert read == event
        assert to_line(read) == line


@settings(max_examples=25)
@given(logs())
def test_the_briefs_structures_survive_json(log: LogWriter) -> None:
    for writer in (log, rich_log()):
        state = writer.portfolio.state()
        assert value_from_document(PortfolioState, through_json(value_to_document(state))) == state
        metrics = portfolio_metrics(state, writer.now + 2 * DAY_NS, Decimal("1.5"))
        assert value_from_document(PortfolioMetrics, through_json(value_to_document(metrics))) == metrics


@pytest.mark.parametrize("structure", BRIEF)
def test_the_briefs_field_names_are_the_keys(structure: type) -> None:
    names = {field.name for field in fields(structure)}
    assert set(BRIEF[structure].split()) <= names


def test_the_briefs_words_are_the_values() -> None:
    document = through_json(value_to_document(rich_log().portfolio.state()))
    unwound, left = document["closed_trades"][2:4]
    assert [trade["status"] for trade in document["active_trades"]] == ["Active", "Pending"]
    assert unwound["status"] == "Closed"
    assert unwound["exit_reason"] == "leg_out"
    assert unwound["long_order"]["side"] == "Long"
    assert unwound["long_order"]["status"] == "Cancelled"
    assert unwound["long_order"]["queue_position"]["fill_threshold_pct"] == Decimal("0.20")
    assert unwound["leg_out_event"]["filled_leg"] == "long"
    assert unwound["leg_out_event"]["hedge_executed"] is True
    assert unwound["short_order"] is None
    assert unwound["entry_short_price"] is None
    assert [order["order_type"] for order in left["orders"].values()] == ["Limit"] * 4 + ["Market"]


def test_rules_and_listings_survive_json() -> None:
    rules = replace(Rules(), min_size_policy="reject", fill_threshold=Decimal(1), partial_fills=False)
    assert rules_from_document(through_json(value_to_document(rules))) == rules
    for listing in LISTINGS:
        assert listing_from_document(through_json(value_to_document(listing))) == listing


def test_a_session_restates_its_rules_and_listings() -> None:
    opened = from_document(load_document(to_line(LogWriter().events[0])))
    assert rules_from_document(opened.rules) == Rules()  # type: ignore[union-attr]
    assert tuple(map(listing_from_document, opened.listings)) == LISTINGS  # type: ignore[union-attr]


def changed(name: str, value: Any) -> Callable[[Document], Document]:
    return lambda document: document | {name: value}


@pytest.mark.parametrize("event", rich_log().events, ids=lambda event: f"{event.seq}-{type(event).__name__}")
def test_every_field_is_needed_and_named(event: Event) -> None:
    document = through_json(to_document(event))
    for name in without(document, "kind"):
        with pytest.raises(ValueError, match=rf"{type(event).__name__} lacks {name}$"):
            from_document(without(document, name))
        with pytest.raises(ValueError, match=rf"{type(event).__name__}\.{name}: "):
            from_document(document | {name: 1.5})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("kind", "trade_vanished"), "unknown event kind 'trade_vanished'"),
        (changed("kind", None), "unknown event kind None"),
        (lambda document: without(document, "kind"), "unknown event kind None"),
        (changed("surprise", 1), r"OrderSubmitted has no field \['surprise'\]"),
        (changed("price", "100"), "OrderSubmitted.price: must be a number, got '100'"),
        (changed("price", None), "OrderSubmitted.price: must be a number, got None"),
        (changed("price", True), "OrderSubmitted.price: must be a number, got True"),
        (changed("price", Decimal("NaN")), "OrderSubmitted.price: must be a number"),
        (changed("seq", Decimal("1.0")), "OrderSubmitted.seq: must be int"),
        (changed("leg", "middle"), "OrderSubmitted.leg: must be one of long, short, got 'middle'"),
        (changed("side", "long"), "OrderSubmitted.side: must be one of Long, Short, got 'long'"),
        (changed("order_id", 7), "OrderSubmitted.order_id: must be str"),
    ],
)
def test_what_is_no_event_is_refused_by_name(change: Callable[[Document], Document], message: str) -> None:
    log = LogWriter()
    trade_id = log.propose()
    log.send(trade_id, Leg.LONG)
    document = through_json(to_document(log.events[-1]))
    with pytest.raises(ValueError, match=message):
        from_document(change(document))


@pytest.mark.parametrize("amount", [1.5, 2, Decimal("Infinity"), Decimal("NaN"), None, "2"])
def test_an_event_that_is_not_typed_is_not_written(amount: Any) -> None:
    with pytest.raises(ValueError, match=r"FlowPosted\.amount: must be a finite Decimal"):
        to_line(FlowPosted(1, 2, 1, amount, "note"))


def test_an_event_with_a_wrong_seq_type_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"Halted\.seq: must be int, got True"):
        to_line(Halted(True, 2, "why"))


def test_rules_of_another_kind_are_refused() -> None:
    document = through_json(value_to_document(Rules()))
    with pytest.raises(ValueError, match=r"Rules\.min_size_policy: must be one of floor, reject"):
        rules_from_document(document | {"min_size_policy": "guess"})
    with pytest.raises(ValueError, match=r"Rules\.max_depth_share: must be a list of 2"):
        rules_from_document(document | {"max_depth_share": [5, 3, 1]})
    with pytest.raises(ValueError, match="Listing lacks tick"):
        listing_from_document(without(value_to_document(LISTINGS[0]), "tick"))


def test_a_trade_whose_orders_contradict_each_other_is_refused() -> None:
    document = through_json(value_to_document(rich_log().portfolio.closed_trades[0]))
    other = document["long_order"] | {"size": 2}
    with pytest.raises(ValueError, match=r"PaperTrade\.orders: the orders of .* contradict each other"):
        value_from_document(PaperTrade, document | {"long_order": other})
    with pytest.raises(ValueError, match=r"PaperTrade\.orders: "):
        value_from_document(PaperTrade, document | {"orders": {"x": document["long_order"]}})
