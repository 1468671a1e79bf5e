"""The trading monitor of brief 3 in a terminal: Portfolio Summary, Active Trades and Recent Exits, each second.

Fed by a function that returns a snapshot, never by the store itself. The three panels carry the brief's words and no
others; what else must be said (source, age, what is wrong) stands above and below them. Profits and losses have a sign
as well as a colour, what is undefined is shown as missing, and old numbers are never shown as the present ones.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from assets.arbitrage.view import ActiveRow, ExitRow, TraderView
from dashboards.format import MINUS, MISSING, duration, money, percent, sign_of
from dashboards.theme.tokens import SCREEN
from dashboards.trader_snapshot import LATE_SECONDS, TraderSnapshot
from resources.clock import Clock

SUMMARY, ACTIVE, EXITS = "Portfolio Summary", "Active Trades ({} total)", "Recent Exits"
COLUMNS = ("Ticker", "Entry Spread", "Current Spread", "Unrealized P&L")

# The second red of 256 colours has no name of its own in Rich. 10:1 and 6:1 on the page, and of different lightness.
_GAIN, _LOSS = "green3", "color(203)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Order(NamedTuple):
    """A way to sort the active trades; ``name`` is shown below them."""

    name: str
    value: Callable[[ActiveRow], str | Decimal | None]
    descending: bool


_ORDERS: Mapping[str, Order] = {
    "ticker": Order("Ticker", lambda row: row.ticker, False),
    "entry": Order("Entry Spread", lambda row: row.entry_spread_bps, True),
    "spread": Order("Current Spread", lambda row: row.current_spread_bps, True),
    "pnl": Order("Unrealized P&L", lambda row: row.unrealized_pnl, True),
}
_COLUMN_ORDERS = ("ticker", "entry", "spread", "pnl")


# Texts


def dollars(value: Decimal | None, *, signed: bool = False, cents: bool = False) -> str:
    """``$20,000``, ``+$250``, ``-$18.50``: the brief's way; ``cents`` are there also when they are zero."""
    text = money(value, signed=signed).text
    if text == MISSING:
        return text
    sign = text[0] if text[0] in f"+{MINUS}" else ""
    amount = text[len(sign) :]
    return _plain(f"{sign}${amount if cents else amount.removesuffix('.00')}")


def share(ratio: Decimal | None, decimals: int = 1) -> str:
    """``25%``, ``45.6%``: a fraction as a percentage, the decimal only where there is one."""
    text = percent(ratio, signed=False, decimals=decimals)
    return _plain(text.replace(f".{'0' * decimals}%", "%"))


def basis_points(value: Decimal | None) -> str:
    """``5.2 bps``; what rounds to zero has no sign."""
    return MISSING if value is None else f"{round(value, 1) or 0:,.1f} bps"


def summary_lines(view: TraderView | None) -> tuple[str, str, str]:
    """The three lines of the brief's summary; capital that came or went since the start is named where there is any."""
    if view is None:
        m = MISSING
        return (
            f"Capital: {m} | Available: {m} | Utilization: {m}",
            f"Trades: {m} | Win Rate: {m} | Cumulative P&L: {m}",
            f"Realistic APR: {m} | Leg-Out Events: {m}",
        )
    metrics = view.metrics
    gain = _plain(percent(metrics.pnl_percentage))
    flows = f"Flows: {dollars(view.net_flows, signed=True)} | " if view.net_flows else ""
    pnl = dollars(metrics.cumulative_pnl, signed=True)
    return (
        f"Capital: {dollars(view.starting_capital)} | {flows}Available: {dollars(metrics.available_capital)} | "
        f"Utilization: {share(metrics.utilization_pct)}",
        f"Trades: {metrics.total_trades} | Win Rate: {share(metrics.win_rate)} | Cumulative P&L: {pnl} ({gain})",
        f"Realistic APR: {share(metrics.realistic_apr)} | Leg-Out Events: {metrics.leg_out_count}",
    )


def summary_text(view: TraderView | None) -> Text:
    """The summary with its profit or loss in colour."""
    lines = summary_lines(view)
    text = Text("\n".join(lines))
    if view is not None:
        label = "Cumulative P&L: "
        start = len(lines[0]) + 1 + lines[1].index(label) + len(label)
        text.stylize(_colour(view.metrics.cumulative_pnl), start, len(lines[0]) + 1 + len(lines[1]))
    return text


def active_cells(row: ActiveRow) -> tuple[Text, Text, Text, Text]:
    """One line of the active trades in the brief's order."""
    return (
        Text(row.ticker),
        Text(basis_points(row.entry_spread_bps), justify="right"),
        Text(basis_points(row.current_spread_bps), justify="right"),
        Text(dollars(row.unrealized_pnl, signed=True, cents=True), style=_colour(row.unrealized_pnl), justify="right"),
    )


def exit_cells(row: ExitRow) -> tuple[Text, Text, Text, Text]:
    """One line of the recent exits in the brief's order."""
    profit = Text("Profit: ")
    profit.append(dollars(row.profit, signed=True, cents=True), style=_colour(row.profit))
    return Text(row.ticker), Text(row.status), profit, Text(f"Reason: {row.reason}")


def headline(snapshot: TraderSnapshot, now: datetime) -> str:
    """Source, age and the engine's time of the numbers: what matters most stands where nothing is cut off."""
    if snapshot.view is None:
        return f"{snapshot.source} {MISSING}"
    age = snapshot.age_seconds(now)
    return f"{snapshot.source}  age {duration(age or 0)}  as of {_instant(snapshot.view.as_of_ns)}"


def notices(snapshot: TraderSnapshot, now: datetime) -> tuple[str, ...]:
    """What is wrong, the gravest first, and what to do about it; empty while all is well."""
    said = []
    if snapshot.disconnected:
        said.append(f"store unreachable: {snapshot.disconnected}")
    if snapshot.unreadable:
        said.append(f"unreadable: {snapshot.unreadable}")
    if snapshot.view is None:
        if not said and snapshot.version:
            said.append("No trader has written to this store yet. Start it: desk up")
    else:
        if snapshot.is_stale(now):
            said.append("STALE: the trader has stopped writing. These are its last numbers. Start it: desk up")
        if snapshot.view.halted:
            said.append(f"HALTED, no new trades: {snapshot.view.halted}")
        missing = sorted({venue for row in snapshot.view.active for venue in row.missing})
        if missing:
            said.append(f"no usable quote: {', '.join(missing)}")
    return tuple(said)


def once(snapshot: TraderSnapshot, now: datetime, width: int | None = None) -> RenderableType:
    """The three panels as one print, for logs and pipes."""
    view = snapshot.view
    active = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for column in active.columns[1:]:
        column.justify = "right"
    exits = Table(box=None, pad_edge=False, show_header=False)
    for row in view.active if view else ():
        active.add_row(*active_cells(row))
    for left in view.exits if view else ():
        exits.add_row(*exit_cells(left))
    total = MISSING if view is None else len(view.active)
    said = notices(snapshot, now)
    return Group(
        Text(headline(snapshot, now)),
        *(Text(notice, style=f"bold {_LOSS}") for notice in said),
        *(
            Panel(content, title=title, title_align="left", width=width)
            for title, content in (
                (SUMMARY, summary_text(view)),
                (ACTIVE.format(total), active),
                (EXITS, exits),
            )
        ),
    )


def print_once(snapshot: TraderSnapshot, now: datetime, console: Console) -> bool:
    """Print the panels; whether they show the present."""
    console.print(once(snapshot, now, min(console.width, 100)))
    return not (snapshot.is_stale(now) or snapshot.disconnected or snapshot.unreadable)


def _plain(text: str) -> str:
    """The brief writes its losses with the hyphen that everybody can type and search for."""
    return text.replace(MINUS, "-")


def _colour(value: Decimal | None) -> str:
    return ("", _GAIN, _LOSS)[sign_of(None if value is None else round(value, 2))]


def _instant(time_ns: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=time_ns // 1000):%Y-%m-%d %H:%M:%S} UTC"


# The screen


class Rows(DataTable[Text]):
    """A table that makes the cells in sight and writes those that changed, and nothing else: its lines are places, in
    which trades come and go. What is out of sight is written when it is scrolled to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("home", "scroll_top", show=False),
        Binding("end", "scroll_bottom", show=False),
    ]

    def __init__(
        self, columns: tuple[str, ...], cells: Callable[[Any], tuple[Text, ...]], *, header: bool, id: str
    ) -> None:
        """``cells`` makes the line of one of the trades that are shown."""
        super().__init__(cursor_type="row", show_header=header, id=id, cursor_foreground_priority="renderable")
        self._labels = columns
        self._cells = cells
        self._names: list[str] = []
        self._wanted: list[ActiveRow | ExitRow] = []
        self._written: list[tuple[Text, ...]] = []
        self._widths = [len(label) for label in columns]

    def on_mount(self) -> None:
        for index, label in enumerate(self._labels):
            self.add_column(Text(label, justify="right") if index and label else Text(label), key=str(index))

    def show(self, rows: Sequence[ActiveRow | ExitRow]) -> None:
        """These trades in this order. The cursor goes with its trade, except that the top stays the top."""
        at = self.cursor_row
        name = self._names[at] if 0 < at < len(self._names) else ""
        self._names, self._wanted = [row.trade_id for row in rows], list(rows)
        for place in range(len(self._written), len(rows)):
            cells = self._cells(rows[place])
            self.add_row(*cells, key=str(place))
            self._written.append(cells)
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        while len(self._written) > len(rows):
            self._written.pop()
            self.remove_row(str(len(self._written)))
        self._write()
        if name in self._names and self._names[at : at + 1] != [name]:
            moved = self._names.index(name) - at
            self.move_cursor(row=at + moved, animate=False, scroll=False)
            self.scroll_relative(y=moved, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._write()

    def on_resize(self) -> None:
        self._write()

    def _write(self) -> None:
        """Bring the places in sight up to date."""
        first = max(0, int(self.scroll_y))
        for place in range(first, min(first + self.size.height + 1, len(self._written))):
            wanted, written = self._cells(self._wanted[place]), self._written[place]
            if wanted == written:
                continue
            self._written[place] = wanted
            for index, (cell, before) in enumerate(zip(wanted, written, strict=True)):
                if cell != before:
                    # To measure a column means to measure all its cells: only where one is longer than any so far.
                    self.update_cell(str(place), str(index), cell, update_width=len(cell) > self._widths[index])
                    self._widths[index] = max(self._widths[index], len(cell))


class Filter(Input):
    """A few letters of a ticker."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep"),
        Binding("escape", "app.unfilter", "All"),
    ]


class Help(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "app.pop_screen", show=False)]

    KEYS = (
        ("up, down, j, k", "move by a line"),
        ("PageUp, PageDown", "move by a screen"),
        ("Home, End", "first, last line"),
        ("Tab", "between the two lists"),
        ("u t s e", "sort by unrealized P&L, ticker, current spread, entry spread; again: the other way"),
        ("o", "the order they were entered in"),
        ("/", "show some tickers only; Enter keeps it, Escape ends it"),
        ("p, Space", "pause, go on"),
        ("q", "quit"),
    )

    def compose(self) -> ComposeResult:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for keys, what in self.KEYS:
            table.add_row(keys, what)
        box = Static(table, id="help")
        box.border_title = "Keys"
        yield box


class Monitor(App[None]):
    """``snapshot`` is asked every ``seconds``; it must answer at once, whatever the store does."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "Trading Monitor"
    CSS = f"""
    Screen {{ background: {SCREEN.page}; color: {SCREEN.ink1}; layers: base; }}
    #head {{ height: 1; padding: 0 1; background: {SCREEN.raised}; color: {SCREEN.ink1}; }}
    #head.late {{ background: goldenrod; color: {SCREEN.page}; }}
    #head.stale {{ background: darkred; color: {SCREEN.ink0}; text-style: bold; }}
    #notice {{ height: auto; max-height: 4; padding: 0 1; color: {SCREEN.ink0}; text-style: bold; }}
    #summary {{ height: auto; }}
    #summary, Rows, #help {{
        border: round {SCREEN.dim}; border-title-color: {SCREEN.ink0}; border-subtitle-color: {SCREEN.ink2};
        background: {SCREEN.page}; padding: 0 1;
    }}
    Rows {{ scrollbar-size-vertical: 1; scrollbar-color: {SCREEN.dim}; scrollbar-background: {SCREEN.page}; }}
    Rows:focus {{ border: round {SCREEN.ink2}; }}
    Rows > .datatable--header {{ background: {SCREEN.page}; color: {SCREEN.ink2}; text-style: none; }}
    Rows > .datatable--cursor {{ background: {SCREEN.page}; color: {SCREEN.ink1}; }}
    Rows:focus > .datatable--cursor {{ background: {SCREEN.line}; color: {SCREEN.ink0}; }}
    #lists {{ overflow-y: auto; scrollbar-size-vertical: 0; }}
    #active {{ height: 2fr; min-height: 5; }}
    #exits {{ height: 1fr; min-height: 4; }}
    #filter {{ display: none; height: 1; border: none; padding: 0 1; background: {SCREEN.raised}; }}
    #filter.open {{ display: block; }}
    Footer, FooterKey {{ background: {SCREEN.raised}; color: {SCREEN.ink2}; }}
    FooterKey .footer-key--key {{ background: {SCREEN.raised}; color: {SCREEN.ink0}; text-style: bold; }}
    FooterKey .footer-key--description {{ background: {SCREEN.raised}; color: {SCREEN.ink2}; }}
    Help {{ align: center middle; }}
    #help {{ width: 66; max-width: 100%; height: auto; background: {SCREEN.raised}; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("p,space", "pause", "Pause", key_display="p"),
        Binding("u", "order('pnl')", "P&L"),
        Binding("t", "order('ticker')", "Ticker"),
        Binding("s", "order('spread')", "Spread"),
        Binding("e", "order('entry')", show=False),
        Binding("o", "order('')", show=False),
        Binding("escape", "unfilter", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, snapshot: Callable[[], TraderSnapshot], clock: Clock, seconds: float = 1.0) -> None:
        super().__init__()
        self._look = snapshot
        self._clock = clock
        self._seconds = seconds
        self._snapshot = snapshot()
        self._paused_at: datetime | None = None
        self._order = ""
        self._reversed = False
        self._filter = ""
        self._drawn: object = None  # what the panels show, so that what did not change is not drawn again
        self._said: str | None = None
        self._summary: Text | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="notice", markup=False)
        summary = Static(id="summary", markup=False)
        summary.border_title = SUMMARY
        yield summary
        with Vertical(id="lists"):
            yield Rows(COLUMNS, active_cells, header=True, id="active")
            exits = Rows(("", "", "", ""), exit_cells, header=False, id="exits")
            exits.border_title = EXITS
            yield exits
        yield Filter(placeholder="Ticker", id="filter", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#active").focus()
        self.draw()
        self.set_interval(self._seconds, self.tick)

    def tick(self) -> None:
        """Ask for the newest snapshot, unless paused, and show it; the age counts on in any case."""
        if self._paused_at is None:
            self._snapshot = self._look()
        self.draw()

    def draw(self) -> None:
        """Bring the screen up to date: ages each time, panels when the snapshot or what is asked of it changed."""
        now = self._clock.now()
        self._draw_head(now)
        state = (self._snapshot.version, self._order, self._reversed, self._filter)
        if state == self._drawn:
            return
        self._drawn = state
        view = self._snapshot.view
        summary = summary_text(view)
        if summary != self._summary:
            self._summary = summary
            self.query_one("#summary", Static).update(summary)
        active, exits = self.query_one("#active", Rows), self.query_one("#exits", Rows)
        shown = self._ordered([row for row in view.active if self._wanted(row.ticker)]) if view else []
        active.show(shown)
        active.border_title = ACTIVE.format(MISSING if view is None else len(view.active))
        active.border_subtitle = self._subtitle(len(shown))
        exits.show([row for row in view.exits if self._wanted(row.ticker)] if view else [])

    def _draw_head(self, now: datetime) -> None:
        snapshot, head, notice = self._snapshot, self.query_one("#head", Static), self.query_one("#notice", Static)
        text = headline(snapshot, now)
        if self._paused_at is not None:
            text = f"PAUSED {self._paused_at:%H:%M:%S}  {text}"
        age = snapshot.age_seconds(now)
        stale = snapshot.is_stale(now) or bool(snapshot.disconnected or snapshot.unreadable)
        head.set_class(stale, "stale")
        head.set_class(not stale and age is not None and age > LATE_SECONDS, "late")
        head.update(text, layout=False)
        said = "\n".join(notices(snapshot, now))
        if said != self._said:
            self._said = said
            notice.display = bool(said)
            notice.update(said)

    def _subtitle(self, shown: int) -> str:
        parts = []
        if self._order:
            order = _ORDERS[self._order]
            parts.append(f"by {order.name} {'▼' if order.descending is not self._reversed else '▲'}")
        if self._filter:
            parts.append(f"filter {self._filter}: {shown} shown")
        return ", ".join(parts)

    def _wanted(self, ticker: str) -> bool:
        return self._filter.upper() in ticker.upper()

    def _ordered(self, rows: list[ActiveRow]) -> list[ActiveRow]:
        """By the chosen order; what has no value comes last either way."""
        if not self._order:
            return rows
        order = _ORDERS[self._order]
        known = [(value, row) for row in rows if (value := order.value(row)) is not None]
        known.sort(key=lambda pair: pair[0], reverse=order.descending is not self._reversed)
        return [row for _, row in known] + [row for row in rows if order.value(row) is None]

    def action_order(self, order: str) -> None:
        """Sort by ``order``, the other way round when it is that already; "" is the order of entry."""
        self._reversed = bool(order) and order == self._order and not self._reversed
        self._order = order
        self.draw()

    @on(DataTable.HeaderSelected, "#active")
    def _column_chosen(self, event: DataTable.HeaderSelected) -> None:
        self.action_order(_COLUMN_ORDERS[event.column_index])

    def action_pause(self) -> None:
        """Hold the numbers still, or go on with the newest."""
        self._paused_at = None if self._paused_at is not None else self._clock.now()
        self.tick()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  the base names it
        """The footer does not offer to filter while the filter is being typed."""
        return not (action == "filter" and isinstance(self.focused, Filter))

    def action_filter(self) -> None:
        asked = self.query_one("#filter", Input)
        asked.add_class("open")
        asked.focus()

    def action_unfilter(self) -> None:
        """Show every ticker again."""
        self.query_one("#filter", Input).value = ""
        self._close_filter()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self._filter = event.value.strip()
        self.draw()

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        self.query_one("#filter").remove_class("open")
        self.query_one("#active").focus()

    def action_help(self) -> None:
        self.push_screen(Help())
