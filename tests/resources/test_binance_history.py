"""BinanceHistory against a local server that pages, cuts and refuses as the exchange does."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from assets.research.data.contracts import (
    BARS_1H,
    FUNDING_SETTLEMENTS,
    OPEN_INTEREST,
    check,
    check_form,
    check_gaps,
    daily_close,
    funding_24h,
    oi_24h,
)
from resources.clock import ManualClock
from resources.history import HistoryError
from resources.history.binance import BinanceHistory
from resources.market import MarketError

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2025, 6, 17, tzinfo=UTC)
HOUR_MS = 3_600_000
KLINES, FUNDING, OPEN_INTEREST_HIST = "/fapi/v1/klines", "/fapi/v1/fundingRate", "/futures/data/openInterestHist"
LISTED = MIDNIGHT - 90 * DAY

Row = list[object] | dict[str, object]


def ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def kline(opened: int) -> Row:
    """A bar in the exchange's twelve columns; the close tells its hour."""
    hour = str(opened // HOUR_MS)
    return [opened, "1.0", "9.0", "0.5", hour, "12.500", opened + HOUR_MS - 1, "20.0", 7, "6.0", "10.0", "0"]


def settlement(stamp: int) -> Row:
    return {"symbol": "BTCUSDT", "fundingTime": stamp + 4, "fundingRate": "0.00010000", "markPrice": "100.10"}


def snapshot(stamp: int) -> Row:
    value = f"{stamp // HOUR_MS}.50000000"
    return {"symbol": "BTCUSDT", "sumOpenInterest": "10.0", "sumOpenInterestValue": value, "timestamp": stamp}


class Exchange:
    """Answers from startTime, endTime and limit; the running hour is in its answers, as in the real ones."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.now = MIDNIGHT
        self.missing: set[datetime] = set()
        self.scripted: dict[str, tuple[int, bytes]] = {}
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                status, body = exchange.answer(url.path, dict(parse_qsl(url.query)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        self.requests.append((path, query))
        if path in self.scripted:
            return self.scripted[path]
        if query["symbol"] != "BTCUSDT":
            return 400, b'{"code":-1121,"msg":"Invalid symbol."}'
        start, end, limit = (int(query[name]) for name in ("startTime", "endTime", "limit"))
        if path == OPEN_INTEREST_HIST and start < ms(self.now - 30 * DAY):
            return 400, b'{"code":-1130,"msg":"parameter \'startTime\' is invalid."}'
        row, step, most = {
            KLINES: (kline, 1, 1500),
            FUNDING: (settlement, 8, 1000),
            OPEN_INTEREST_HIST: (snapshot, 1, 500),
        }[path]
        assert limit <= most, "the exchange refuses larger pages"
        rows = self._rows(row, step, max(start, ms(LISTED)), end)
        # Of a window with more rows than fit, statistics show the newest and prices the oldest.
        page = rows[-limit:] if path == OPEN_INTEREST_HIST else rows[:limit]
        return 200, json.dumps(page).encode()

    def _rows(self, row: Callable[[int], Row], step: int, start: int, end: int) -> list[Row]:
        gone = {ms(instant) for instant in self.missing}
        stamps = range(start + -start % (step * HOUR_MS), min(end, ms(self.now)) + 1, step * HOUR_MS)
        return [row(stamp) for stamp in stamps if stamp not in gone]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    yield exchange
    exchange.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MIDNIGHT)


@pytest.fixture
def history(exchange: Exchange, clock: ManualClock) -> Iterator[BinanceHistory]:
    # trust_env off: a proxy in the environment must not swallow requests to the local server.
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield BinanceHistory(exchange.url, client, clock)


def test_bars_are_the_closed_hours_of_the_window(exchange: Exchange, history: BinanceHistory) -> None:
    bars = history.hourly_bars("BTCUSDT", MIDNIGHT - 3 * DAY, MIDNIGHT)
    assert history.source == "BINANCE"
    assert check(bars, BARS_1H, MIDNIGHT) == []
    assert bars["timestamp_utc"].tolist() == [MIDNIGHT - back * HOUR for back in range(72, 0, -1)]
    assert bars["close"].tolist() == [ms(stamp) // HOUR_MS for stamp in bars["timestamp_utc"]]
    assert set(bars["volume"]) == {12.5}
    assert len(daily_close(bars)) == 3
    assert exchange.requests == [
        (
            KLINES,
            {
                "symbol": "BTCUSDT",
                "interval": "1h",
                "startTime": str(ms(MIDNIGHT - 3 * DAY)),
                "endTime": str(ms(MIDNIGHT) - 1),
                "limit": "1500",
            },
        )
    ]


@pytest.mark.parametrize("minutes", [0, 1, 59])
def test_the_running_hour_is_never_returned(
    exchange: Exchange, history: BinanceHistory, clock: ManualClock, minutes: int
) -> None:
    exchange.now = MIDNIGHT + timedelta(minutes=minutes)
    clock.move_to(exchange.now)
    for end in (exchange.now, MIDNIGHT + 9 * DAY):
        bars = history.hourly_bars("BTCUSDT", MIDNIGHT - DAY, end)
        assert bars["timestamp_utc"].iloc[-1] == MIDNIGHT - HOUR


def test_bars_beyond_the_window_are_dropped_though_the_exchange_sends_them(
    exchange: Exchange, history: BinanceHistory
) -> None:
    rows = [kline(ms(MIDNIGHT + hour * HOUR)) for hour in range(-4, 2)]
    exchange.scripted[KLINES] = (200, json.dumps(rows).encode())
    bars = history.hourly_bars("BTCUSDT", MIDNIGHT - 2 * HOUR, MIDNIGHT)
    assert bars["timestamp_utc"].tolist() == [MIDNIGHT - 2 * HOUR, MIDNIGHT - HOUR]


def test_a_window_that_begins_or_ends_within_an_hour_holds_whole_bars_only(history: BinanceHistory) -> None:
    minute = timedelta(minutes=1)
    bars = history.hourly_bars("BTCUSDT", MIDNIGHT - 4 * HOUR + minute, MIDNIGHT - minute)
    assert bars["timestamp_utc"].tolist() == [MIDNIGHT - 3 * HOUR, MIDNIGHT - 2 * HOUR]
    for start, end in ((MIDNIGHT, MIDNIGHT), (MIDNIGHT - HOUR, MIDNIGHT - DAY), (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)):
        bars = history.hourly_bars("BTCUSDT", start, end)
        assert len(bars) == 0
        assert check_form(bars, BARS_1H) == []


def test_a_long_window_is_read_page_by_page_without_a_seam(exchange: Exchange, history: BinanceHistory) -> None:
    bars = history.hourly_bars("BTCUSDT", MIDNIGHT - 80 * DAY, MIDNIGHT)
    assert len(bars) == 80 * 24
    assert check(bars, BARS_1H, MIDNIGHT) == []
    assert len(exchange.requests) == 2


def test_a_window_from_before_the_listing_begins_with_the_listing(exchange: Exchange, history: BinanceHistory) -> None:
    bars = history.hourly_bars("BTCUSDT", MIDNIGHT - 200 * DAY, MIDNIGHT)
    assert bars["timestamp_utc"].iloc[0] == LISTED
    assert len(exchange.requests) == 4


def test_an_hour_the_exchange_does_not_have_stays_a_gap(exchange: Exchange, history: BinanceHistory) -> None:
    exchange.missing = {MIDNIGHT - 30 * HOUR, MIDNIGHT - 29 * HOUR}
    (finding,) = check_gaps(history.hourly_bars("BTCUSDT", MIDNIGHT - 3 * DAY, MIDNIGHT), BARS_1H)
    assert (finding.at, finding.until) == (MIDNIGHT - 30 * HOUR, MIDNIGHT - 29 * HOUR)


def test_funding_is_what_was_published_before_the_end(history: BinanceHistory, clock: ManualClock) -> None:
    clock.move_to(MIDNIGHT + HOUR)
    table = history.funding("BTCUSDT", MIDNIGHT - 3 * DAY, MIDNIGHT)
    assert check(table, FUNDING_SETTLEMENTS, MIDNIGHT) == []
    late = timedelta(milliseconds=4)
    assert table["timestamp_utc"].tolist() == [MIDNIGHT - back * 8 * HOUR + late for back in range(9, 0, -1)]
    assert funding_24h(table)["date_utc"].tolist() == [MIDNIGHT - 2 * DAY, MIDNIGHT - DAY]
    assert len(history.funding("NOPEUSDT", MIDNIGHT - DAY, MIDNIGHT)) == 0


def test_open_interest_is_the_last_hourly_value_before_each_midnight(
    exchange: Exchange, history: BinanceHistory, clock: ManualClock
) -> None:
    exchange.now = MIDNIGHT + timedelta(minutes=30)
    clock.move_to(exchange.now)
    table = history.open_interest("BTCUSDT", MIDNIGHT - 25 * DAY, MIDNIGHT + DAY)
    assert check(table, OPEN_INTEREST, MIDNIGHT) == []
    assert table["date_utc"].tolist() == [MIDNIGHT - back * DAY for back in range(25, 0, -1)]
    assert table["oi_usd"].iloc[-1] == (ms(MIDNIGHT) // HOUR_MS) - 1 + 0.5
    assert len(oi_24h(table)) == 24
    assert {query["period"] for _, query in exchange.requests} == {"1h"}
    assert len(exchange.requests) == 2


def test_open_interest_older_than_the_exchange_keeps_is_not_asked_for(
    exchange: Exchange, history: BinanceHistory
) -> None:
    table = history.open_interest("BTCUSDT", MIDNIGHT - 300 * DAY, MIDNIGHT)
    assert table["date_utc"].iloc[0] == MIDNIGHT - 30 * DAY
    assert int(exchange.requests[0][1]["startTime"]) > ms(MIDNIGHT - 30 * DAY)
    assert len(history.open_interest("BTCUSDT", MIDNIGHT - 300 * DAY, MIDNIGHT - 200 * DAY)) == 0


def test_a_day_without_its_last_snapshot_has_no_open_interest(exchange: Exchange, history: BinanceHistory) -> None:
    exchange.missing = {MIDNIGHT - 2 * DAY - HOUR}
    table = history.open_interest("BTCUSDT", MIDNIGHT - 5 * DAY, MIDNIGHT)
    assert table["date_utc"].tolist() == [MIDNIGHT - back * DAY for back in (5, 4, 2, 1)]
    assert len(oi_24h(table)) == 2


def test_there_are_no_option_levels_and_a_reason_why(history: BinanceHistory) -> None:
    assert history.option_levels("BTCUSDT", MIDNIGHT - DAY, MIDNIGHT) is None
    assert history.absence("option_levels", "BTCUSDT") != ""
    assert history.absence("open_interest", "BTCUSDT") == ""


def test_a_symbol_the_exchange_does_not_list_is_an_error(history: BinanceHistory) -> None:
    for question in (history.hourly_bars, history.open_interest):
        with pytest.raises(HistoryError, match="NOPEUSDT is not listed, see DESK_RESEARCH_SYMBOLS"):
            question("NOPEUSDT", MIDNIGHT - DAY, MIDNIGHT)


@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'{"code":0}', b"[[1]]", b"[null]", b'[["x","y"]]', b"[{}]"])
def test_garbage_is_an_error_that_names_the_endpoint(exchange: Exchange, history: BinanceHistory, body: bytes) -> None:
    questions = {KLINES: history.hourly_bars, FUNDING: history.funding, OPEN_INTEREST_HIST: history.open_interest}
    for path, question in questions.items():
        exchange.scripted = {path: (200, body)}
        with pytest.raises(MarketError, match=path):
            question("BTCUSDT", MIDNIGHT - DAY, MIDNIGHT)


def test_an_exchange_that_fails_is_asked_three_times(exchange: Exchange, history: BinanceHistory) -> None:
    exchange.scripted[KLINES] = (503, b"")
    with pytest.raises(MarketError, match=r"klines: no answer after 3 attempts \(HTTP 503\)"):
        history.hourly_bars("BTCUSDT", MIDNIGHT - DAY, MIDNIGHT)
    assert len(exchange.requests) == 3


def test_without_httpx_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "from resources.history import open_history\n"
        "from resources.market import MarketError\n"
        "from resources.settings import Settings\n"
        "try: open_history(Settings(history='binance'))\n"
        "except MarketError as error: print(error)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert "signal-desk[binance]" in run.stdout
