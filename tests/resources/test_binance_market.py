"""BinanceMarket against a local server: recorded answers, rate limits, failures and garbage."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from resources.clock import ManualClock
from resources.market import Book, FundingRate, Mark, MarketError, open_market
from resources.market.binance import USD_M, BinanceMarket
from resources.settings import Settings, load_settings

NOON = datetime(2025, 6, 17, 12, tzinfo=UTC)
NOON_MS = 1_750_161_600_000
PREMIUM, INFO, DEPTH, FUNDING = (
    f"/fapi/v1/{name}" for name in ("premiumIndex", "exchangeInfo", "depth", "fundingRate")
)
PERPETUAL = {"symbol": "BTCUSDT", "markPrice": "104500.10000000", "nextFundingTime": NOON_MS, "time": NOON_MS - 500}
DELIVERY = {"symbol": "BTCUSDT_250926", "markPrice": "106000.5", "nextFundingTime": 0, "time": NOON_MS - 500}
ORDER_BOOK = {"E": NOON_MS + 3, "T": NOON_MS, "bids": [["1.10", "6"]], "asks": [["1.20", "7"], ["1.30", "0.5"]]}
UNKNOWN_SYMBOL = (400, b'{"code":-1121,"msg":"Invalid symbol."}', {})

Answer = tuple[int, bytes, dict[str, str]]


class Exchange:
    """Scripted answers by path: each request takes the next one, the last is repeated."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._answers: dict[str, list[Answer]] = {}
        self.silence = threading.Event()  # set: requests get no answer until the server closes
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                exchange.requests.append((url.path, dict(parse_qsl(url.query))))
                if exchange.silence.is_set():
                    exchange.closing.wait(5)
                    return
                answers = exchange._answers[url.path]
                status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answers(self, path: str, *answers: object) -> None:
        self._answers[path] = [
            answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode(), {}) for answer in answers
        ]

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    yield exchange
    exchange.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def market(exchange: Exchange, clock: ManualClock) -> Iterator[BinanceMarket]:
    # trust_env off: a proxy in the environment must not swallow requests to the local server.
    # Patient, since each request that it gives up is asked once more, and requests are counted.
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield BinanceMarket(exchange.url, client, clock)


def _recorded(name: str) -> bytes:
    file = load_settings().test_data / "exchange_rest" / name
    if not file.exists():
        pytest.skip(f"no recorded answer {file} (DESK_TEST_DATA)")
    return gzip.decompress(file.read_bytes())


def test_marks_carry_the_exchanges_own_time_and_digits(exchange: Exchange, market: BinanceMarket) -> None:
    exchange.answers(PREMIUM, [PERPETUAL, DELIVERY, {**PERPETUAL, "symbol": "NEWUSDT", "markPrice": ""}])
    marks = market.marks(NOON)
    assert set(marks) == {"BTCUSDT", "BTCUSDT_250926"}  # no price is no mark
    made = NOON - timedelta(milliseconds=500)
    assert marks["BTCUSDT"] == Mark("BTCUSDT", Decimal("104500.10000000"), made)
    assert str(marks["BTCUSDT"].price) == "104500.10000000"


def test_exchange_info_is_handed_over_byte_for_byte_and_kept_for_minutes(
    exchange: Exchange, market: BinanceMarket
) -> None:
    first, second = b'{ "symbols" : [ ] , "x":1.10}', b'{"symbols":[]}'
    exchange.answers(INFO, (200, first, {}), (200, second, {}))
    assert market.exchange_info(NOON) == first
    assert market.exchange_info(NOON + timedelta(minutes=4)) == first
    assert market.exchange_info(NOON + timedelta(minutes=5)) == second
    assert len(exchange.requests) == 2


def test_a_book_has_exact_levels_and_the_time_of_its_last_change(exchange: Exchange, market: BinanceMarket) -> None:
    exchange.answers(DEPTH, ORDER_BOOK)
    book = market.liquidity("SUSHIUSDT", NOON)
    asks = ((Decimal("1.20"), Decimal(7)), (Decimal("1.30"), Decimal("0.5")))
    assert book == Book("SUSHIUSDT", ((Decimal("1.10"), Decimal(6)),), asks, NOON)
    assert exchange.requests == [(DEPTH, {"symbol": "SUSHIUSDT", "limit": "100"})]


def test_a_symbol_the_exchange_does_not_list_has_no_book_and_no_funding(
    exchange: Exchange, market: BinanceMarket
) -> None:
    exchange.answers(DEPTH, UNKNOWN_SYMBOL)
    exchange.answers(FUNDING, UNKNOWN_SYMBOL)
    assert market.liquidity("NOPEUSDT", NOON) is None
    assert market.funding(["NOPEUSDT"], NOON - timedelta(days=1), NOON) == []


def test_funding_covers_the_open_closed_window_by_time_then_symbol(exchange: Exchange, market: BinanceMarket) -> None:
    def row(symbol: str, milliseconds: int, rate: str, mark: str) -> dict[str, object]:
        return {"symbol": symbol, "fundingTime": milliseconds, "fundingRate": rate, "markPrice": mark}

    start = NOON_MS - 8 * 3_600_000
    b = [row("B", start, "0.1", "1"), row("B", start + 5, "-0.00012500", ""), row("B", NOON_MS, "0.0001", "2.50")]
    exchange.answers(FUNDING, [row("A", NOON_MS, "0.00010000", "104000.10"), row("A", NOON_MS + 1, "0.2", "1")], b)
    published = market.funding(["B", "A", "B"], NOON - timedelta(hours=8), NOON)
    assert published == [
        FundingRate("B", NOON - timedelta(hours=8) + timedelta(milliseconds=5), Decimal("-0.000125"), None),
        FundingRate("A", NOON, Decimal("0.0001"), Decimal("104000.10")),
        FundingRate("B", NOON, Decimal("0.0001"), Decimal("2.50")),
    ]
    assert exchange.requests[0][1] == {
        "symbol": "A",
        "startTime": str(start),
        "endTime": str(NOON_MS),
        "limit": "1000",
    }


def test_a_delivery_contract_has_no_funding(exchange: Exchange, market: BinanceMarket) -> None:
    exchange.answers(FUNDING, [])
    assert market.funding(["BTCUSDT_250926"], NOON - timedelta(days=9), NOON) == []


def test_funding_is_read_page_by_page(exchange: Exchange, market: BinanceMarket) -> None:
    hour = 3_600_000
    rows = [
        {"symbol": "A", "fundingTime": NOON_MS - back * hour, "fundingRate": "0.0001", "markPrice": "1"}
        for back in reversed(range(1_500))
    ]
    exchange.answers(FUNDING, rows[:1000], rows[1000:])
    published = market.funding(["A"], NOON - timedelta(days=90), NOON)
    assert [row.time for row in published] == [NOON - timedelta(hours=back) for back in reversed(range(1_500))]
    assert exchange.requests[1][1]["startTime"] == str(rows[999]["fundingTime"] + 1)  # type: ignore[operator]


def test_an_exchange_that_repeats_a_page_forever_is_an_error(exchange: Exchange, market: BinanceMarket) -> None:
    page = [
        {"symbol": "A", "fundingTime": NOON_MS - 5_000 + n, "fundingRate": "0", "markPrice": ""} for n in range(1000)
    ]
    exchange.answers(FUNDING, page)
    with pytest.raises(MarketError, match="fundingRate"):
        market.funding(["A"], NOON - timedelta(days=90), NOON)
    assert len(exchange.requests) == 2


def test_server_errors_are_retried_with_growing_pauses(
    exchange: Exchange, market: BinanceMarket, clock: ManualClock
) -> None:
    exchange.answers(PREMIUM, (500, b"", {}), (503, b"", {}), [PERPETUAL])
    assert set(market.marks(NOON)) == {"BTCUSDT"}
    assert clock.now() - NOON == timedelta(seconds=1.5)
    exchange.answers(PREMIUM, (502, b"<html>", {}))
    with pytest.raises(MarketError, match=r"premiumIndex: no answer after 3 attempts \(HTTP 502\)"):
        market.marks(NOON)


def test_silence_ends_in_an_error_that_names_the_endpoint(exchange: Exchange, clock: ManualClock) -> None:
    exchange.silence.set()
    impatient = httpx.Client(timeout=httpx.Timeout(60, read=0.3), trust_env=False)
    with impatient, pytest.raises(MarketError, match=r"depth: no answer after 3 attempts \(ReadTimeout"):
        BinanceMarket(exchange.url, impatient, clock).liquidity("BTCUSDT", NOON)
    until = time.monotonic() + 60
    while len(exchange.requests) < 3:  # the server may be slower to note one than the client is to give it up
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(exchange.requests) == 3


def test_an_unreachable_exchange_is_an_error(clock: ManualClock) -> None:
    with httpx.Client(timeout=60, trust_env=False) as client, pytest.raises(MarketError, match="ConnectError"):
        BinanceMarket("http://127.0.0.1:9", client, clock).marks(NOON)


@pytest.mark.parametrize("status", [418, 429])
def test_a_short_rate_limit_is_waited_out(
    exchange: Exchange, market: BinanceMarket, clock: ManualClock, status: int
) -> None:
    exchange.answers(PREMIUM, (status, b"", {"Retry-After": "3"}), [PERPETUAL])
    assert set(market.marks(NOON)) == {"BTCUSDT"}
    assert clock.now() - NOON == timedelta(seconds=3)


@pytest.mark.parametrize(("header", "wait"), [("120", 120), ("soon", 60), (None, 60)])
def test_nothing_is_sent_during_a_long_ban(
    exchange: Exchange, market: BinanceMarket, clock: ManualClock, header: str | None, wait: int
) -> None:
    headers = {} if header is None else {"Retry-After": header}
    exchange.answers(PREMIUM, (429, b"", headers), [PERPETUAL])
    for _ in range(2):
        with pytest.raises(MarketError, match="premiumIndex: rate limited until 2025-06-17T12:0"):
            market.marks(NOON)
    assert len(exchange.requests) == 1
    clock.move_to(NOON + timedelta(seconds=wait))
    assert set(market.marks(NOON)) == {"BTCUSDT"}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"7", b'{"code":0}', b'[{"symbol":"A"}]', b"[null]", b"[1e99999999999999999999]",
     b"[" * 100_000],
)  # fmt: skip
def test_garbage_is_an_error_that_names_the_endpoint(exchange: Exchange, market: BinanceMarket, body: bytes) -> None:
    for path in (PREMIUM, INFO, DEPTH, FUNDING):
        exchange.answers(path, (200, body, {}))
    questions = {
        PREMIUM: lambda: market.marks(NOON),
        INFO: lambda: market.exchange_info(NOON),
        DEPTH: lambda: market.liquidity("A", NOON),
        FUNDING: lambda: market.funding(["A"], NOON - timedelta(days=1), NOON),
    }
    for path, question in questions.items():
        with pytest.raises(MarketError, match=path):
            question()


def test_a_price_that_is_no_number_is_an_error(exchange: Exchange, market: BinanceMarket) -> None:
    exchange.answers(PREMIUM, [{**PERPETUAL, "markPrice": "much"}])
    with pytest.raises(MarketError, match="premiumIndex"):
        market.marks(NOON)


def test_a_refusal_repeats_the_exchanges_words_and_is_not_retried(exchange: Exchange, market: BinanceMarket) -> None:
    exchange.answers(PREMIUM, (403, b"WAF limit", {}))
    with pytest.raises(MarketError, match="HTTP 403: WAF limit"):
        market.marks(NOON)
    assert len(exchange.requests) == 1


def test_the_binance_setting_opens_the_official_host() -> None:
    assert open_market(Settings(market="binance")).name == "BINANCE"
    assert USD_M == "https://fapi.binance.com"


def test_without_httpx_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "from resources.market import MarketError, open_market\n"
        "from resources.settings import Settings\n"
        "try: open_market(Settings(market='binance'))\n"
        "except MarketError as error: print(error)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert "signal-desk[binance]" in run.stdout


@pytest.mark.real_data
def test_recorded_marks_are_read(exchange: Exchange, market: BinanceMarket) -> None:
    body = _recorded("binance_fapi_v1_premiumIndex_part_2025-06-17T083808Z.json.gz")
    exchange.answers(PREMIUM, (200, body, {}))
    marks = market.marks(NOON)
    assert len(marks) == len(json.loads(body)) == 126
    assert marks["LINKUSDT"].price == Decimal("13.428")
    assert marks["LINKUSDT"].as_of == datetime(2025, 6, 17, 8, 38, 8, tzinfo=UTC)


@pytest.mark.real_data
def test_recorded_books_are_read(exchange: Exchange, market: BinanceMarket) -> None:
    body = _recorded("binance_fapi_v1_depth_SUSHIUSDT_2021-07-22T222541Z.json.gz")
    exchange.answers(DEPTH, (200, body, {}))
    book = market.liquidity("SUSHIUSDT", NOON)
    assert book is not None
    assert book.bids[0] == (Decimal("7.6110"), Decimal(6))
    assert book.asks[0] == (Decimal("7.6120"), Decimal(297))
    assert book.as_of == datetime(2021, 7, 22, 22, 25, 41, 261_000, tzinfo=UTC)


@pytest.mark.real_data
def test_recorded_filters_are_handed_over_as_sent(exchange: Exchange, market: BinanceMarket) -> None:
    body = _recorded("binance_fapi_v1_exchangeInfo_2025-11-26.json.gz")
    exchange.answers(INFO, (200, body, {}))
    assert market.exchange_info(NOON) == body


def _settled(symbol: str, at: datetime) -> dict[str, object]:
    milliseconds = NOON_MS + round((at - NOON).total_seconds() * 1000)
    return {"symbol": symbol, "fundingTime": milliseconds, "fundingRate": "0.0001", "markPrice": "10"}


def _marked(symbols: list[str], at: datetime, settles: datetime) -> list[dict[str, object]]:
    time, following = (NOON_MS + round((instant - NOON).total_seconds() * 1000) for instant in (at, settles))
    return [{"symbol": s, "markPrice": "10", "nextFundingTime": following, "time": time} for s in symbols]


def _ticks(
    exchange: Exchange, market: BinanceMarket, symbols: list[str], first: datetime, minutes: int, published: datetime
) -> tuple[list[int], list[FundingRate]]:
    """Marks and funding of the last hour each minute; 8-hour settlements at 16:00 become known at ``published``.
    Returns the requests of each minute, and what the last one gave."""
    four = NOON.replace(hour=16)
    asked, known = [], []
    for minute in range(minutes):
        now = first + timedelta(minutes=minute)
        exchange.answers(PREMIUM, _marked(symbols, now, four if now < four else four + timedelta(hours=8)))
        exchange.answers(FUNDING, [_settled(s, four) for s in symbols] if now >= published else [])
        market.marks(now)
        before = len(exchange.requests)
        known = market.funding(symbols, now - timedelta(hours=1), now)
        asked.append(len(exchange.requests) - before)
    return asked, known


def test_funding_is_asked_for_once_a_settlement(exchange: Exchange, market: BinanceMarket) -> None:
    four = NOON.replace(hour=16)
    asked, known = _ticks(exchange, market, ["A", "B"], four - timedelta(minutes=5), 30, published=four)
    assert asked[0] == 2, "nothing is known yet"
    assert asked[5] == 2, "16:00 has passed"
    assert sum(asked[6:]) == 0
    assert sum(asked[1:5]) <= 2
    assert [(rate.symbol, rate.time) for rate in known] == [("A", four), ("B", four)]


def test_funding_published_late_is_asked_for_with_growing_pauses(exchange: Exchange, market: BinanceMarket) -> None:
    four = NOON.replace(hour=16)
    asked, known = _ticks(
        exchange, market, ["A"], four - timedelta(minutes=5), 59, published=four + timedelta(minutes=20)
    )
    assert known == [FundingRate("A", four, Decimal("0.0001"), Decimal(10))]
    assert sum(asked) <= 10


def test_a_settlement_missed_just_before_the_start_is_found(exchange: Exchange, market: BinanceMarket) -> None:
    four = NOON.replace(hour=16)
    asked, known = _ticks(
        exchange, market, ["A"], four + timedelta(seconds=30), 30, published=four + timedelta(minutes=3)
    )
    assert [rate.time for rate in known] == [four]
    assert sum(asked) <= 6


def test_many_symbols_are_asked_for_within_the_exchanges_limit(exchange: Exchange, market: BinanceMarket) -> None:
    """200 positions: a part a minute, an error until all are known, and no settlement is lost on the way."""
    symbols = [f"S{number:03}" for number in range(200)]
    exchange.answers(PREMIUM, _marked(symbols, NOON, NOON + timedelta(hours=4)))
    exchange.answers(FUNDING, [_settled(symbol, NOON - timedelta(hours=4)) for symbol in symbols])
    market.marks(NOON)
    week = NOON - timedelta(days=7)
    for minute in range(2):
        with pytest.raises(MarketError, match="funding requests"):
            market.funding(symbols, week, NOON + timedelta(minutes=minute))
        assert len(exchange.requests) == 1 + 90 * (minute + 1)
    known = market.funding(symbols, week, NOON + timedelta(minutes=2))
    assert [rate.symbol for rate in known] == symbols
    assert len(exchange.requests) <= 1 + 90 * 3
