"""The monitor's three panels in the brief's words, its keys, and what it says when there is nothing to show."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Static

from assets.arbitrage.model import PortfolioMetrics
from assets.arbitrage.view import ActiveRow, ExitRow, TraderView, live_document, live_key
from dashboards.terminal import (
    COLUMNS,
    Monitor,
    Rows,
    active_cells,
    basis_points,
    dollars,
    exit_cells,
    print_once,
    share,
    summary_lines,
    summary_text,
)
from dashboards.trader_snapshot import TraderSnapshot
from pipelines.cli import main
from resources.clock import ManualClock
from resources.documents import dump_document
from resources.store import open_store

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9

# The brief's own example (brief 3, Display Layout).
BRIEF_METRICS = PortfolioMetrics(
    total_trades=5, win_rate=Decimal("0.8"), cumulative_pnl=Decimal(250), pnl_percentage=Decimal("0.0125"),
    available_capital=Decimal(15_000), utilization_pct=Decimal("0.25"), utilization_of_equity=None, leg_out_count=1,
    leg_out_loss_pct=None, leg_out_loss_bps=Decimal(0), realistic_apr=Decimal("0.456"), apr_provisional=False,
)  # fmt: skip
BRIEF_TRADES = (
    ("BTCUSDT", "5.2", "3.1", "45.20"),
    ("ETHUSDT", "8.1", "6.5", "32.10"),
    ("BNBUSDT", "12.3", "15.2", "-18.50"),
)
BRIEF_EXITS = (("ADAUSDT", "28.50", "profit_target"), ("DOGEUSDT", "-12.30", "loss_limit"))


def active_row(ticker: str, entry: str, spread: str | None, pnl: str | None, trade_id: str = "") -> ActiveRow:
    return ActiveRow(
        trade_id=trade_id or ticker, ticker=ticker, long_exchange="binance", short_exchange="bybit",
        entry_time_ns=NOW_NS, entry_spread_bps=Decimal(entry),
        current_spread_bps=None if spread is None else Decimal(spread),
        unrealized_pnl=None if pnl is None else Decimal(pnl), projected_profit=Decimal(50),
        position_size_usd=Decimal(1000), quantity=Decimal(1), funding_delta=None, status="Active",
        missing=() if pnl is not None else ("bybit",),
    )  # fmt: skip


def exit_row(ticker: str, profit: str, reason: str) -> ExitRow:
    return ExitRow(f"x-{ticker}", ticker, "binance", "bybit", "Closed", Decimal(profit), reason, NOW_NS, 1)


def view_with(active: Sequence[ActiveRow], exits: Sequence[ExitRow] = (), **changes: Any) -> TraderView:
    view = TraderView(
        source="SIMULATED", day="2026-03-02", seq=9, as_of_ns=NOW_NS, starting_capital=Decimal(20_000),
        total_open_positions=Decimal(5000), equity=None, unrealized_pnl=None, metrics=BRIEF_METRICS, halted="",
        active=tuple(active), exits=tuple(exits), opportunities=(), removed=(), leg_outs=(), capital=(), venues=(),
        counts=(), net_flows=Decimal(0), taken=0, instructions=(),
    )  # fmt: skip
    return replace(view, **changes)


BRIEF = view_with([active_row(*row) for row in BRIEF_TRADES], [exit_row(*row) for row in BRIEF_EXITS])


class Feeder:
    """A trader in the monitor's own hand: what it is told next and what time it is."""

    def __init__(self, view: TraderView | None) -> None:
        self.clock = ManualClock(NOW)
        self.asked = 0
        at = NOW if view else None
        self.snapshot = TraderSnapshot("SIMULATED", 1, view=view, written_at=at, seen_at=at)

    def __call__(self) -> TraderSnapshot:
        self.asked += 1
        return self.snapshot

    def tell(self, view: TraderView) -> None:
        now = self.clock.now()
        self.change(view=view, written_at=now, seen_at=now)

    def change(self, **changes: Any) -> None:
        self.snapshot = replace(self.snapshot, version=self.snapshot.version + 1, **changes)


def screen(
    view: TraderView | None,
    act: Callable[[Monitor, Pilot[None], Feeder], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
) -> None:
    """Run the monitor without a terminal; no tick comes by itself."""
    feeder = Feeder(view)

    async def run() -> None:
        app = Monitor(feeder, feeder.clock, seconds=3600)
        async with app.run_test(size=size) as pilot:
            await act(app, pilot, feeder)

    asyncio.run(run())


def lines(app: Monitor, table: str = "#active") -> list[list[str]]:
    rows = app.query_one(table, Rows)
    return [[cell.plain for cell in rows.get_row_at(index)] for index in range(rows.row_count)]


def tickers(app: Monitor, table: str = "#active") -> list[str]:
    return [line[0] for line in lines(app, table)]


def text_of(app: Monitor, widget: str) -> str:
    return str(app.query_one(widget, Static).content)


# The brief's words


def test_the_brief_s_example_is_shown_in_its_words_and_its_order() -> None:
    assert summary_lines(BRIEF) == (
        "Capital: $20,000 | Available: $15,000 | Utilization: 25%",
        "Trades: 5 | Win Rate: 80% | Cumulative P&L: +$250 (+1.25%)",
        "Realistic APR: 45.6% | Leg-Out Events: 1",
    )
    assert COLUMNS == ("Ticker", "Entry Spread", "Current Spread", "Unrealized P&L")

    async def act(app: Monitor, _pilot: Pilot[None], _feeder: Feeder) -> None:
        assert text_of(app, "#summary") == "\n".join(summary_lines(BRIEF))
        titles = [app.query_one(panel).border_title for panel in ("#summary", "#active", "#exits")]
        assert titles == ["Portfolio Summary", "Active Trades (3 total)", "Recent Exits"]
        columns = app.query_one("#active", Rows).ordered_columns
        assert [column.label.plain for column in columns] == list(COLUMNS)
        assert lines(app) == [
            ["BTCUSDT", "5.2 bps", "3.1 bps", "+$45.20"],
            ["ETHUSDT", "8.1 bps", "6.5 bps", "+$32.10"],
            ["BNBUSDT", "12.3 bps", "15.2 bps", "-$18.50"],
        ]
        assert lines(app, "#exits") == [
            ["ADAUSDT", "Closed", "Profit: +$28.50", "Reason: profit_target"],
            ["DOGEUSDT", "Closed", "Profit: -$12.30", "Reason: loss_limit"],
        ]

    screen(BRIEF, act)


def test_capital_that_came_or_went_is_named() -> None:
    shown = summary_lines(replace(BRIEF, net_flows=Decimal(-4_999)))
    assert shown[0].startswith("Capital: $20,000 | Flows: -$4,999 | Available: ")
    assert shown[1:] == summary_lines(BRIEF)[1:]


@pytest.mark.parametrize(
    ("pnl", "text", "style"),
    [
        ("45.2", "+$45.20", "green3"),
        ("-18.5", "-$18.50", "color(203)"),
        ("0", "$0.00", ""),
        ("-0.004", "$0.00", ""),
        ("-1234567.891", "-$1,234,567.89", "color(203)"),
        (None, "—", ""),
    ],
)
def test_profit_and_loss_have_a_sign_as_well_as_a_colour(pnl: str | None, text: str, style: str) -> None:
    cell = active_cells(active_row("BTCUSDT", "5", "3", pnl))[3]
    assert (cell.plain, str(cell.style)) == (text, style)
    if pnl is not None:
        profit = exit_cells(exit_row("BTCUSDT", pnl, "leg_out"))[2]
        assert profit.plain == f"Profit: {text}"
        assert [str(span.style) for span in profit.spans if span.style] == ([style] if style else [])


def test_the_cumulative_profit_is_coloured_and_nothing_else_of_the_summary() -> None:
    for pnl, style in (("250", "green3"), ("-250", "color(203)")):
        metrics = replace(BRIEF_METRICS, cumulative_pnl=Decimal(pnl), pnl_percentage=Decimal(pnl) / 20_000)
        text = summary_text(replace(BRIEF, metrics=metrics))
        (span,) = text.spans
        assert text.plain[span.start : span.end] in ("+$250 (+1.25%)", "-$250 (-1.25%)")
        assert span.style == style


def test_undefined_figures_are_shown_as_undefined() -> None:
    undefined = replace(BRIEF_METRICS, total_trades=0, win_rate=None, cumulative_pnl=Decimal(0), realistic_apr=None)
    shown = summary_lines(replace(BRIEF, metrics=replace(undefined, pnl_percentage=Decimal(0))))
    assert shown[1:] == (
        "Trades: 0 | Win Rate: — | Cumulative P&L: $0 (0.00%)",
        "Realistic APR: — | Leg-Out Events: 1",
    )
    assert active_cells(active_row("BTCUSDT", "5.2", None, None))[2].plain == "—"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (dollars(Decimal("15123.456")), "$15,123.46"),
        (dollars(None), "—"),
        (share(Decimal("0.2546")), "25.5%"),
        (share(None), "—"),
        (share(Decimal(1)), "100%"),
        (basis_points(Decimal("-0.04")), "0.0 bps"),
        (basis_points(Decimal("-3.26")), "-3.3 bps"),
        (basis_points(Decimal("12345.6")), "12,345.6 bps"),
    ],
)
def test_numbers_are_written_as_the_brief_writes_them(shown: str, expected: str) -> None:
    assert shown == expected


# Keys

MANY = [
    active_row(f"A{number:03}USDT", str(number % 17), str(number % 23), str(number * 7 % 401 - 200))
    for number in range(200)
]


def test_sorting_is_numeric_both_ways_with_the_unknown_last() -> None:
    rows = [active_row(f"T{pnl}", "1", "1", pnl) for pnl in ("9", "-100", None, "10", "-20", "100")]

    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        await pilot.press("u")
        assert tickers(app) == ["T100", "T10", "T9", "T-20", "T-100", "TNone"]
        assert app.query_one("#active").border_subtitle == "by Unrealized P&L ▼"
        await pilot.press("u")
        assert tickers(app) == ["T-100", "T-20", "T9", "T10", "T100", "TNone"]
        assert app.query_one("#active").border_title == "Active Trades (6 total)"
        await pilot.press("o")
        assert tickers(app) == [row.ticker for row in rows]

    screen(view_with(rows), act)


@pytest.mark.parametrize(("key", "first"), [("t", "A"), ("s", "B"), ("e", "C")])
def test_every_column_can_be_sorted_by(key: str, first: str) -> None:
    rows = [active_row("C", "30", "2", "1"), active_row("B", "4", "100", "2"), active_row("A", "20", "20", "3")]

    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        await pilot.press(key)
        assert tickers(app)[0] == first

    screen(view_with(rows), act)


def test_a_click_on_a_column_sorts_by_it() -> None:
    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        await pilot.click("#active", offset=(8, 1))
        assert tickers(app)[0] == "BNBUSDT"

    screen(BRIEF, act)


def test_the_keys_of_a_long_list_move_the_cursor() -> None:
    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        rows = app.query_one("#active", Rows)
        assert rows.row_count == 200
        await pilot.press("pagedown")
        below = rows.cursor_row
        assert below > 3
        await pilot.press("down", "j", "j", "k", "up")
        assert rows.cursor_row == below + 1
        await pilot.press("pageup")
        assert rows.cursor_row < below
        await pilot.press("end")
        assert rows.cursor_row == 199
        assert rows.scroll_offset.y > 150
        await pilot.press("home")
        assert (rows.cursor_row, rows.scroll_offset.y) == (0, 0)
        await pilot.press("tab")
        assert app.focused is app.query_one("#exits")

    screen(view_with(MANY), act)


def test_the_cursor_goes_with_its_trade_and_the_top_stays_the_top() -> None:
    async def act(app: Monitor, pilot: Pilot[None], feeder: Feeder) -> None:
        rows = app.query_one("#active", Rows)
        await pilot.press("down", "down")
        feeder.tell(view_with(MANY[1:]))
        app.tick()
        assert (rows.cursor_row, tickers(app)[1]) == (1, "A002USDT")
        feeder.tell(view_with([*MANY[50:60], *MANY[:3]]))
        app.tick()
        assert tickers(app)[rows.cursor_row] == "A002USDT"
        feeder.tell(view_with(MANY[:2]))
        app.tick()
        await pilot.pause()
        assert rows.cursor_row == 1
        await pilot.press("home")
        feeder.tell(view_with(MANY[5:1:-1]))
        app.tick()
        assert rows.cursor_row == 0

    screen(view_with(MANY), act)


def test_a_filter_leaves_some_tickers_in_both_lists_until_it_is_ended() -> None:
    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        await pilot.press("slash", *"eth")
        assert (tickers(app), tickers(app, "#exits")) == (["ETHUSDT"], [])
        await pilot.press("enter")
        assert app.focused is app.query_one("#active")
        assert app.query_one("#active").border_title == "Active Trades (3 total)"
        assert app.query_one("#active").border_subtitle == "filter eth: 1 shown"
        await pilot.press("escape")
        assert len(tickers(app)) == 3
        assert len(tickers(app, "#exits")) == 2
        await pilot.press("slash", "p", "q", "space", "escape")
        assert app.is_running
        assert len(tickers(app)) == 3

    screen(BRIEF, act)


@pytest.mark.parametrize("key", ["p", "space"])
def test_a_pause_holds_the_numbers_and_says_so_while_the_age_goes_on(key: str) -> None:
    async def act(app: Monitor, pilot: Pilot[None], feeder: Feeder) -> None:
        await pilot.press(key)
        feeder.clock.sleep(30)
        feeder.tell(view_with([active_row("NEWUSDT", "1", "1", "1")]))
        app.tick()
        assert tickers(app)[0] == "BTCUSDT"
        assert "PAUSED 09:30:12" in text_of(app, "#head")
        assert "age 30 s" in text_of(app, "#head")
        await pilot.press(key)
        assert tickers(app) == ["NEWUSDT"]
        assert "PAUSED" not in text_of(app, "#head")

    screen(BRIEF, act)


def test_help_names_the_keys_and_q_leaves() -> None:
    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        await pilot.press("question_mark")
        assert app.screen.query_one("#help").border_title == "Keys"
        await pilot.press("escape")
        assert not app.screen.query("#help")
        await pilot.press("q")
        assert not app.is_running

    screen(BRIEF, act)


# Data that come, change, grow old or are missing


def test_changed_cells_alone_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[Any, ...]] = []
    update = Rows.update_cell

    def counted(self: Rows, *args: Any, **options: Any) -> None:
        written.append(args[:2])
        update(self, *args, **options)

    monkeypatch.setattr(Rows, "update_cell", counted)

    async def act(app: Monitor, _pilot: Pilot[None], feeder: Feeder) -> None:
        changed = replace(MANY[7], unrealized_pnl=Decimal(999))
        feeder.tell(view_with([*MANY[:7], changed, *MANY[8:]]))
        app.tick()
        assert written == [("7", "3")]
        assert lines(app)[7][3] == "+$999.00"
        app.tick()
        assert len(written) == 1

    screen(view_with(MANY), act)


def test_what_was_out_of_sight_is_current_when_it_is_scrolled_to() -> None:
    async def act(app: Monitor, pilot: Pilot[None], feeder: Feeder) -> None:
        feeder.tell(view_with([replace(row, unrealized_pnl=Decimal(5000)) for row in MANY]))
        app.tick()
        assert [line[3] for line in lines(app)[:3]] == ["+$5,000.00"] * 3
        for key in ("pagedown", "end", "home", "pagedown", "down"):
            await pilot.press(key)
            rows = app.query_one("#active", Rows)
            seen = range(rows.scroll_offset.y, min(200, rows.scroll_offset.y + rows.size.height - 1))
            assert {lines(app)[place][3] for place in seen} == {"+$5,000.00"}
        await pilot.resize_terminal(120, 60)
        await pilot.pause()
        seen = range(rows.scroll_offset.y, min(200, rows.scroll_offset.y + rows.size.height - 1))
        assert len(seen) > 20
        assert {lines(app)[place][3] for place in seen} == {"+$5,000.00"}

    screen(view_with(MANY), act)


def test_trades_and_exits_come_and_go() -> None:
    async def act(app: Monitor, _pilot: Pilot[None], feeder: Feeder) -> None:
        feeder.tell(view_with([active_row(*BRIEF_TRADES[2])], [exit_row("BTCUSDT", "45.2", "profit_target")]))
        app.tick()
        assert tickers(app) == ["BNBUSDT"]
        assert app.query_one("#active").border_title == "Active Trades (1 total)"
        assert lines(app, "#exits") == [["BTCUSDT", "Closed", "Profit: +$45.20", "Reason: profit_target"]]
        feeder.tell(view_with([]))
        app.tick()
        assert (tickers(app), tickers(app, "#exits")) == ([], [])
        feeder.tell(BRIEF)
        app.tick()
        assert len(tickers(app)) == 3

    screen(BRIEF, act)


def test_old_numbers_are_marked_and_fresh_ones_are_not() -> None:
    async def act(app: Monitor, _pilot: Pilot[None], feeder: Feeder) -> None:
        head, notice = app.query_one("#head"), app.query_one("#notice")
        assert (head.has_class("late"), head.has_class("stale"), notice.display) == (False, False, False)
        feeder.clock.sleep(6)
        app.tick()
        assert (head.has_class("late"), head.has_class("stale")) == (True, False)
        feeder.clock.sleep(10)
        app.tick()
        assert (head.has_class("late"), head.has_class("stale"), notice.display) == (False, True, True)
        assert "age 16 s" in text_of(app, "#head")
        assert "STALE" in text_of(app, "#notice")
        assert "desk up" in text_of(app, "#notice")
        feeder.tell(BRIEF)
        app.tick()
        assert (head.has_class("stale"), notice.display) == (False, False)

    screen(BRIEF, act)


def test_no_trader_at_all_says_what_to_do() -> None:
    async def act(app: Monitor, pilot: Pilot[None], feeder: Feeder) -> None:
        assert "desk up" in text_of(app, "#notice")
        assert app.query_one("#active").border_title == "Active Trades (— total)"
        assert text_of(app, "#summary").count("—") == 8
        assert text_of(app, "#head").startswith("SIMULATED")
        await pilot.press("u", "pagedown", "end", "j", "slash", "b", "enter", "p")
        feeder.tell(BRIEF)
        await pilot.press("p", "escape")
        assert len(tickers(app)) == 3

    screen(None, act)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"disconnected": "no route"}, "store unreachable: no route"),
        ({"unreadable": "live.json: lacks seq"}, "unreadable: live.json: lacks seq"),
        ({"view": replace(BRIEF, halted="naked position")}, "HALTED, no new trades: naked position"),
        ({"view": view_with([active_row("BTCUSDT", "5", None, None)])}, "no usable quote: bybit"),
    ],
)
def test_what_is_wrong_is_said_and_the_last_numbers_stay(change: dict[str, Any], said: str) -> None:
    async def act(app: Monitor, _pilot: Pilot[None], feeder: Feeder) -> None:
        feeder.change(**change)
        app.tick()
        assert said in text_of(app, "#notice")
        assert tickers(app)[0] == "BTCUSDT"
        assert app.query_one("#head").has_class("stale") is ("view" not in change)

    screen(BRIEF, act)


def test_markup_in_names_is_shown_as_it_is() -> None:
    async def act(app: Monitor, _pilot: Pilot[None], feeder: Feeder) -> None:
        assert tickers(app) == ["[red]X[/]"]
        feeder.change(disconnected="[b]down")
        app.tick()
        assert "[b]down" in text_of(app, "#notice")

    screen(view_with([active_row("[red]X[/]", "1", "1", "1")]), act)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
def test_each_panel_has_room_on_every_terminal(size: tuple[int, int]) -> None:
    async def act(app: Monitor, _pilot: Pilot[None], _feeder: Feeder) -> None:
        for panel in ("#summary", "#active", "#exits"):
            region = app.query_one(panel).region
            assert region.height >= 4
            assert region.right <= size[0]
            assert region.bottom < size[1]

    screen(view_with(MANY, [exit_row(*row) for row in BRIEF_EXITS]), act, size)


def test_on_a_tiny_terminal_every_list_can_still_be_reached() -> None:
    async def act(app: Monitor, pilot: Pilot[None], _feeder: Feeder) -> None:
        active, exits = app.query_one("#active", Rows), app.query_one("#exits", Rows)
        await pilot.press("end", "right")
        assert (active.cursor_row, active.scroll_offset.x > 0) == (199, True)
        await pilot.press("tab", "end")
        await pilot.pause()
        assert exits.cursor_row == 1
        assert exits.region.bottom <= 15

    screen(view_with(MANY, [exit_row(*row) for row in BRIEF_EXITS]), act, (40, 16))


def test_without_colour_the_signs_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: Monitor, _pilot: Pilot[None], _feeder: Feeder) -> None:
        assert app.no_color
        assert [line[3] for line in lines(app)] == ["+$45.20", "+$32.10", "-$18.50"]

    screen(BRIEF, act)


# Once


def printed(snapshot: TraderSnapshot, now: datetime = NOW) -> tuple[bool, str]:
    out = StringIO()
    present = print_once(snapshot, now, Console(file=out, width=100))
    return present, out.getvalue()


def test_once_prints_the_three_panels_plainly() -> None:
    present, text = printed(Feeder(BRIEF).snapshot)
    assert present
    assert "\x1b" not in text
    order = ["SIMULATED", "Portfolio Summary", *summary_lines(BRIEF), "Active Trades (3 total)", *COLUMNS]
    order += ["BTCUSDT", "5.2 bps", "3.1 bps", "+$45.20", "Recent Exits", "ADAUSDT", "Profit: +$28.50", "loss_limit"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("changes", "later", "said"),
    [
        ({}, 16, "STALE"),
        ({"disconnected": "no route"}, 0, "no route"),
        ({"unreadable": "no JSON"}, 0, "no JSON"),
        ({"view": None, "written_at": None, "seen_at": None}, 0, "desk up"),
    ],
)
def test_once_fails_when_it_does_not_show_the_present(changes: dict[str, Any], later: int, said: str) -> None:
    present, text = printed(replace(Feeder(BRIEF).snapshot, **changes), NOW + timedelta(seconds=later))
    assert not present
    assert said in text


def test_the_command_reads_the_store_and_its_status_says_whether_the_trader_lives(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_STORE", str(tmp_path))
    monkeypatch.setenv("DESK_FEED", "simulated")
    # By way of the whole command line: a command that was called on its own keeps no ``-h`` for other tests.
    missing = CliRunner().invoke(main, ["monitor", "--once"])
    assert (missing.exit_code, "desk up" in missing.output) == (1, True)
    open_store(str(tmp_path)).write(live_key("simulated"), dump_document(live_document(BRIEF, datetime.now(UTC))))
    alive = CliRunner().invoke(main, ["monitor", "--once"])
    assert (alive.exit_code, summary_lines(BRIEF)[1] in alive.output) == (0, True)
    refused = CliRunner().invoke(main, ["monitor"])
    assert (refused.exit_code, "--once" in refused.output) == (2, True)
