"""What the arbitrage page states, as data, without a browser."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from assets.arbitrage.view import CapitalPoint, TraderView
from dashboards import arbitrage_labels as labels
from dashboards.components.arbitrage_board import ArbitrageBoard
from dashboards.components.arbitrage_capital import chosen
from dashboards.components.arbitrage_export import table_rows
from dashboards.components.table_file import table_file
from dashboards.pages.arbitrage import arbitrage
from dashboards.trader_snapshot import STALE_SECONDS, TraderSnapshot
from tests.dashboards.trader_folder import HOSTILE, MINUTE, NOW, SECOND, TraderFolder

FOLDER = TraderFolder(NOW)


def snapshot_of(view: TraderView | None, **changes: Any) -> TraderSnapshot:
    at = None if view is None else NOW
    return replace(TraderSnapshot("SIMULATED", 1, view=view, written_at=at, seen_at=at), **changes)


def stated(view: TraderView | None, **changes: Any) -> dict[str, dict[str, Any]]:
    shown = arbitrage(snapshot_of(view, **changes))
    json.dumps(shown, allow_nan=False)
    return shown


def with_metrics(**changes: Any) -> TraderView:
    view = FOLDER.view()
    return replace(view, metrics=replace(view.metrics, **changes))


def texts(cells: list[Any]) -> list[Any]:
    return [cell if isinstance(cell, str) else cell.get("text") for cell in cells]


def figures(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {figure["label"]: figure for figure in shown["head"]["summary"]["figures"]}


def pill(shown: Mapping[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(pill for pill in shown["head"]["pills"] if pill["key"] == key)
    return found


def said(shown: Mapping[str, Any]) -> list[str]:
    return [notice["text"] for notice in shown["head"]["notices"]]


# The brief's words


def test_brief_3_labels_never_change() -> None:
    assert labels.SUMMARY == (
        "Capital",
        "Available",
        "Utilization",
        "Trades",
        "Win Rate",
        "Cumulative P&L",
        "Realistic APR",
        "Leg-Out Events",
    )
    assert labels.ACTIVE == ("Ticker", "Entry Spread", "Current Spread", "Unrealized P&L")
    assert (labels.PORTFOLIO_SUMMARY, labels.ACTIVE_TRADES, labels.RECENT_EXITS) == (
        "Portfolio Summary",
        "Active Trades ({} total)",
        "Recent Exits",
    )


@pytest.mark.parametrize("view", [None, FOLDER.view()], ids=["nothing", "a day"])
def test_the_panels_carry_them_in_order_with_and_without_data(view: TraderView | None) -> None:
    shown = stated(view)
    assert shown["head"]["summary"]["title"] == "Portfolio Summary"
    assert tuple(figures(shown)) == labels.SUMMARY
    assert tuple(column["head"] for column in shown["active"]["columns"][:4]) == labels.ACTIVE
    assert tuple(column["head"] for column in shown["exits"]["columns"][:4]) == labels.EXITS
    assert shown["exits"]["title"] == "Recent Exits"


def test_the_brief_s_example_reads_as_in_the_brief() -> None:
    shown = stated(FOLDER.view())
    assert {label: figure["whole"] + figure["rest"] for label, figure in figures(shown).items()} == {
        "Capital": "20,000.00",
        "Available": "15,000.00",
        "Utilization": "25.0%",
        "Trades": "12",
        "Win Rate": "80.0%",
        "Cumulative P&L": "+250.00",
        "Realistic APR": "45.6%",
        "Leg-Out Events": "1",
    }
    assert figures(shown)["Cumulative P&L"]["delta"] == "+1.25%"
    assert shown["active"]["title"] == "Active Trades (3 total)"
    first = shown["active"]["rows"][0]["cells"]
    assert texts(first)[:4] == ["BTCUSDT", "5.2", "3.1", "+45.20"]
    assert [cell["unit"] for cell in first[1:3]] == ["bps", "bps"]
    assert texts(shown["exits"]["rows"][1]["cells"])[:4] == ["DOGEUSDT", "Closed", "−12.30", "loss_limit"]


def test_capital_that_came_or_went_is_named_beside_what_was_started_with() -> None:
    """Else 20,000 with 25,000 available and no profit would not add up for anybody."""
    shown = figures(stated(replace(FOLDER.view(), net_flows=Decimal("-4999.5"))))
    assert shown["Capital"]["note"] == "flows −4,999.50, equity 20,308.80"
    assert shown["Cumulative P&L"] == figures(stated(FOLDER.view()))["Cumulative P&L"]


# Undefined, zero and missing


def test_an_undefined_figure_is_the_placeholder_with_its_reason_and_zero_stays_zero() -> None:
    shown = figures(stated(with_metrics(win_rate=None, realistic_apr=None, cumulative_pnl=Decimal(0), total_trades=0)))
    for label in ("Win Rate", "Realistic APR"):
        assert shown[label]["whole"] == "—"
        assert shown[label]["reason"]
        assert shown[label]["reason"] in shown[label]["title"]
    pnl = shown["Cumulative P&L"]
    assert (pnl["whole"] + pnl["rest"], pnl["sign"], pnl["reason"]) == ("0.00", 0, "")
    assert shown["Trades"]["whole"] == "0"
    assert figures(stated(with_metrics(win_rate=Decimal(0))))["Win Rate"]["whole"] == "0.0%"


def test_a_loss_too_small_to_see_is_not_shown_as_one() -> None:
    pnl = figures(stated(with_metrics(cumulative_pnl=Decimal("-0.004"))))["Cumulative P&L"]
    assert (pnl["whole"] + pnl["rest"], pnl["sign"]) == ("0.00", 0)


def test_a_provisional_yearly_rate_says_so() -> None:
    assert "provisional" in figures(stated(with_metrics(apr_provisional=True)))["Realistic APR"]["note"]


def test_a_trade_without_quotes_has_no_value_and_names_the_venue() -> None:
    row = FOLDER.active(
        0, current_spread_bps=None, unrealized_pnl=None, funding_delta=None, missing=("bybit",), status="Exiting"
    )
    shown = stated(replace(FOLDER.view(), active=(row,), equity=None, unrealized_pnl=None))
    cells, sort = shown["active"]["rows"][0]["cells"], shown["active"]["rows"][0]["sort"]
    for place in (2, 3):
        assert cells[place]["text"] == "—"
        assert "bybit" in cells[place]["title"]
        assert sort[place] is None
    assert cells[8]["text"] == "—"
    assert shown["active"]["rows"][0]["tag"] == "Exiting"
    assert said(shown) == ["No usable quote: bybit"]
    assert "—" in figures(shown)["Capital"]["note"]


# States


def test_an_empty_store_says_what_is_missing_and_what_will_fill_it() -> None:
    shown = stated(None)
    assert said(shown) == ["No trader has written to this store yet"]
    assert all(figure["whole"] == "—" for figure in figures(shown).values())
    assert shown["active"]["title"] == "Active Trades (— total)"
    for part in ("active", "exits", "opportunities", "leg_outs", "capital"):
        assert shown[part]["empty"] == ["No trader has written to this store yet", "Started by: desk up"]
        assert not shown[part].get("rows", ())
    assert shown["head"]["source"] == "SIMULATED"
    assert shown["head"]["freshness"]["since"] is None


def test_before_the_first_look_it_says_that_it_reads() -> None:
    assert arbitrage(TraderSnapshot("LIVE"))["head"]["notices"][0]["state"] == "loading"


def test_a_quiet_session_has_no_notice_and_says_why_its_tables_are_empty() -> None:
    empty = replace(FOLDER.view(), active=(), exits=(), opportunities=(), removed=(), leg_outs=(), capital=())
    shown = stated(empty)
    assert said(shown) == []
    assert shown["active"]["empty"][0] == "No trade is open"
    assert shown["capital"]["points"] == []
    assert shown["active"]["title"] == "Active Trades (0 total)"


def test_a_halt_is_announced_with_its_reason() -> None:
    shown = stated(replace(FOLDER.view(), halted="available capital is below zero"))
    assert said(shown) == ["Halted, no new trades: available capital is below zero"]
    assert (pill(shown, "entries")["text"], pill(shown, "entries")["state"]) == ("Halted", "attention")


def test_a_lost_store_keeps_the_numbers_and_is_announced_first() -> None:
    shown = stated(replace(FOLDER.view(), halted="x"), disconnected="no route", unreadable="live.json: lacks view")
    assert [notice["state"] for notice in shown["head"]["notices"]] == ["disconnected", "attention", "attention"]
    assert "16:30:12 UTC" in said(shown)[0]
    assert figures(shown)["Capital"]["whole"] == "20,000"


def test_the_age_counts_from_the_earlier_word_so_that_no_clock_makes_old_numbers_new() -> None:
    ahead = stated(FOLDER.view(), written_at=NOW + timedelta(hours=1))["head"]["freshness"]
    assert ahead["since"] == round(NOW.timestamp() * 1000)
    assert ahead["stale_after"] == STALE_SECONDS
    behind = stated(FOLDER.view(), written_at=NOW - timedelta(hours=1))["head"]
    assert behind["freshness"]["since"] == behind["summary"]["since"] == round((NOW.timestamp() - 3600) * 1000)


def test_a_session_that_is_behind_says_so_but_a_recording_does_not() -> None:
    past = replace(FOLDER.view(), as_of_ns=FOLDER.now_ns - 3600 * SECOND)
    assert said(stated(past)) == ["Catching up: at 15:30:12 UTC"]
    assert said(arbitrage(TraderSnapshot("RECORDED", 1, view=past, written_at=NOW, seen_at=NOW))) == []


def test_a_venue_that_fell_silent_is_a_pill_that_names_it() -> None:
    shown = stated(replace(FOLDER.view(), venues=(("binance", FOLDER.now_ns), ("bybit", FOLDER.now_ns - 2 * MINUTE))))
    assert (pill(shown, "venues")["text"], pill(shown, "venues")["state"]) == ("1 of 2 silent", "stale")
    assert "bybit: newest event 2 min ago" in pill(shown, "venues")["title"]
    rejected = pill(stated(replace(FOLDER.view(), counts=(("crossed_book", 3), ("zero_price", 1)))), "rejected")
    assert rejected["text"] == "4"
    assert "crossed book: 3" in rejected["title"]


# Tables


def test_two_hundred_trades_are_all_there_and_stay_small() -> None:
    shown = stated(TraderFolder(NOW, trades=200, exits=50).view())
    assert shown["active"]["title"] == "Active Trades (200 total)"
    assert len({row["id"] for row in shown["active"]["rows"]}) == 200
    assert len(json.dumps(shown["active"])) < 150_000
    assert len(json.dumps({name: part for name, part in shown.items() if name != "active"})) < 80_000


def test_every_row_has_a_cell_for_each_column() -> None:
    shown = stated(FOLDER.view())
    for part in ("active", "exits", "opportunities", "leg_outs"):
        rows = shown[part]["rows"] + (shown["removed"]["rows"] if part == "opportunities" else [])
        assert rows
        for row in rows:
            assert len(row["cells"]) == len(shown[part]["columns"])
            assert len(row.get("sort", row["cells"])) == len(row["cells"])


def test_an_opportunity_shows_both_quotes_its_score_and_why_it_is_not_traded() -> None:
    first, second = stated(FOLDER.view())["opportunities"]["rows"]
    _, long, short, spread, net, funding, score, age, why = first["cells"]
    assert (long["venue"], long["bid"], long["ask"], long["take"]) == ("kucoin", "63,516.90", "63,522.00", 1)
    assert (short["venue"], short["bid"], short["ask"], short["take"]) == ("binance", "63,751.10", "63,763.30", 0)
    assert (spread, net, funding, age) == ("36.1", "+12.4", "+0.0250%", "2.1 s")
    assert (score["score"], score["title"]) == ("79", "spread 36 + funding 25 + depth 10 + freshness 8")
    assert sum(points for _, points in score["parts"]) == 79
    assert why["text"] == "tradable"
    assert (second["cells"][8]["text"], second["cells"][8]["title"]) == (
        "low confidence",
        labels.WHY_NOT_TRADED["low_confidence"],
    )


def test_a_tiny_price_keeps_its_digits_in_a_width_that_fits() -> None:
    tiny = FOLDER.opportunity(ticker="PEPEUSDT", long_bid=Decimal("0.0000091763"), long_ask=Decimal("0.0000091805"))
    shown = stated(replace(FOLDER.view(), opportunities=(tiny,)))["opportunities"]["rows"][0]["cells"][1]
    assert (shown["bid"], shown["ask"]) == ("9.1763e−6", "9.1805e−6")
    hedged = FOLDER.leg_out(hedge_price=Decimal("0.0000091763"))
    assert stated(replace(FOLDER.view(), leg_outs=(hedged,)))["leg_outs"]["rows"][0]["cells"][3] == "9.1763e−6"


def test_a_removed_opportunity_says_when_and_why_it_ended() -> None:
    removed = stated(FOLDER.view())["removed"]
    assert removed["title"] == "Recently removed"
    (row,) = removed["rows"]
    assert texts(row["cells"])[7:] == ["16:30:03", "spread gone"]


def test_an_opportunity_that_does_not_cover_its_costs_is_quiet_and_counted_as_watched() -> None:
    unknown = FOLDER.opportunity(since_ns=None, funding_delta=None, net_bps=Decimal("-3.2"), tradable="no_funding")
    shown = stated(replace(FOLDER.view(), opportunities=(unknown, FOLDER.opportunity())))["opportunities"]
    assert shown["hint"] == "2 watched, 1 above their costs"
    assert (shown["rows"][0]["quiet"], shown["rows"][0]["sign"]) == (True, -1)
    assert shown["rows"][0]["cells"][5]["text"] == "—"
    assert shown["rows"][0]["cells"][8]["title"] == "a funding rate is not known"


def test_a_leg_out_under_way_has_no_price_yet() -> None:
    done, pending = stated(FOLDER.view())["leg_outs"]["rows"]
    assert texts(done["cells"]) == ["DOGEUSDT", "entry", "short", "0.13379", "3.76", "16:29:12"]
    assert "after 450 ms" in done["title"]
    assert texts(pending["cells"])[3:5] == ["under way", "—"]
    assert "alone for 1 min" in pending["cells"][3]["title"]


def test_texts_are_handed_over_as_they_are_for_the_browser_to_put_in_as_text() -> None:
    row = FOLDER.active(0, ticker=HOSTILE, missing=(HOSTILE,), current_spread_bps=None)
    left = FOLDER.exit(0, ticker=HOSTILE, reason=HOSTILE)
    found = FOLDER.opportunity(ticker=HOSTILE, long_exchange=HOSTILE, tradable=HOSTILE)
    shown = stated(replace(FOLDER.view(), active=(row,), exits=(left,), opportunities=(found,), halted=HOSTILE))
    assert shown["active"]["rows"][0]["cells"][0] == HOSTILE
    assert shown["exits"]["rows"][0]["cells"][3]["text"] == HOSTILE
    assert shown["opportunities"]["rows"][0]["cells"][1]["venue"] == HOSTILE
    assert HOSTILE in said(shown)[0]


# Saved


def saved(view: TraderView, table: str) -> list[dict[str, str]]:
    file = table_file("arbitrage", table, list(table_rows(view, table).values()), NOW)
    return [] if file is None else list(csv.DictReader(file["content"].splitlines()))


def test_every_table_is_saved_under_the_ids_it_is_shown_by() -> None:
    view, shown = TraderFolder(NOW, trades=200, exits=50).view(), stated(TraderFolder(NOW, trades=200, exits=50).view())
    for table, rows in (
        ("active", shown["active"]["rows"]),
        ("exits", shown["exits"]["rows"]),
        ("opportunities", shown["opportunities"]["rows"] + shown["removed"]["rows"]),
        ("leg-outs", shown["leg_outs"]["rows"]),
    ):
        assert list(table_rows(view, table)) == [row["id"] for row in rows]
        assert len(saved(view, table)) == len(rows) > 0
    assert table_rows(view, "no such table") == {}


def test_an_opportunity_is_saved_with_its_score_s_parts_and_exact_numbers() -> None:
    exact = Decimal("36.060123456789012345678901")
    view = replace(FOLDER.view(), opportunities=(FOLDER.opportunity(spread_bps=exact, funding_delta=None),))
    first, gone = saved(view, "opportunities")
    assert {name: first[name] for name in ("spread_bps", "funding_delta", "confidence", "removed_utc")} == {
        "spread_bps": str(exact),
        "funding_delta": "",
        "confidence": "79",
        "removed_utc": "",
    }
    parts = {name: int(first[f"confidence_{name}"]) for name in ("spread", "funding", "depth", "freshness")}
    assert sum(parts.values()) == 79
    assert first["quote_time_utc"] == "2026-03-02T16:30:09.900000000+00:00"
    assert (gone["removed_reason"], gone["removed_utc"]) == ("spread_gone", "2026-03-02T16:30:03.000000000+00:00")


def test_trades_are_saved_with_what_the_table_rounds_or_leaves_out() -> None:
    row = FOLDER.active(0, unrealized_pnl=None, missing=("binance", "bybit"))
    (active,) = saved(replace(FOLDER.view(), active=(row,)), "active")
    assert (active["trade_id"], active["unrealized_pnl"], active["missing"]) == ("trade-0", "", "binance bybit")
    assert active["entry_time_utc"] == "2026-03-02T16:29:12.000000000+00:00"
    assert saved(FOLDER.view(), "exits")[1]["profit"] == "-12.30"
    done, pending = saved(FOLDER.view(), "leg-outs")
    assert (done["cost"], pending["hedge_price"]) == ("3.7604", "")


# The chart


def test_the_chart_keeps_first_last_and_every_extreme_of_a_long_day() -> None:
    points = list(FOLDER.capital(1440))
    points[700] = replace(points[700], equity=Decimal(31_000))
    points[801] = replace(points[801], open=Decimal(19_999), available=Decimal(1))
    kept = chosen(tuple(points), 288)
    assert len(kept) < len(points)
    assert [point.time_ns for point in kept] == sorted({point.time_ns for point in kept})
    assert {points[0], points[-1], points[700], points[801]} <= set(kept)


def test_an_unknown_equity_stays_a_gap() -> None:
    points = list(FOLDER.capital(1440))
    for minute in range(300, 330):
        points[minute] = replace(points[minute], equity=None)
    kept = chosen(tuple(points), 288)
    assert {points[299], points[300], points[329], points[330]} <= set(kept)
    shown = stated(replace(FOLDER.view(), capital=tuple(points)))["capital"]
    assert [point[3] for point in shown["points"]].count(None) >= 2


def test_a_short_day_is_shown_whole_on_the_axis_of_its_day() -> None:
    point = CapitalPoint(FOLDER.now_ns, Decimal(15_000), Decimal(5_000), None)
    shown = stated(replace(FOLDER.view(), capital=(point,)))["capital"]
    assert shown["points"] == [[FOLDER.now_ns // 10**6, 15_000.0, 5_000.0, None]]
    assert shown["end"] - shown["start"] == 86_400_000
    assert shown["start"] <= shown["points"][0][0] < shown["end"]
    assert "Equity —" in shown["summary"]


def test_the_board_joins_its_parts_into_one_module_that_puts_no_data_into_markup() -> None:
    assert ArbitrageBoard._esm.count("export function render") == 1
    assert ArbitrageBoard._esm.count("import ") == 0
    # One place makes markup, of drawings only; their numbers come from numbers.
    assert ArbitrageBoard._esm.count("innerHTML") == 1
