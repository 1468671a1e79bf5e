"""ReplayMarket: recorded minute bars, never a minute ahead of what was known."""

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.market import Depth, FundingRate, Mark, MarketError, open_market
from resources.market.replay import ReplayMarket
from resources.settings import Settings, load_settings

NOON = datetime(2025, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
USD_M_LISTING = {"symbol": "AUSDT", "contractType": "PERPETUAL"}


def _write_bars(
    file: Path, minutes: list[int], closes: list[float], volumes: list[float], *, zone: str | None = "UTC"
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = [(NOON if zone else NOON.replace(tzinfo=None)) + minute * MINUTE for minute in minutes]
    pq.write_table(
        pa.table(
            {
                "timestamp_utc": pa.array(opened, pa.timestamp("ms", tz=zone)),
                "open": closes,
                "close": closes,
                "volume": volumes,
            }
        ),
        file,
    )


def _write_exchange_info(file: Path, at: datetime, listing: dict[str, str] = USD_M_LISTING) -> bytes:
    file.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps({"serverTime": int(at.timestamp() * 1000), "symbols": [listing]}).encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bars = tmp_path / "bars"
    _write_bars(bars / "perp" / "AUSDT.parquet", [0, 1, 2, 5], [0.1, 100.0, 1e-7, 3.3], [7.5, 0.0, 2.0, 9.0])
    _write_bars(bars / "perp" / "BUSDT.parquet", [1, 2], [20.5, 21.0], [1.0, 1.0])
    return bars


def test_a_close_is_known_when_its_minute_is_over(folder: Path) -> None:
    market = ReplayMarket(folder)
    assert market.marks(NOON + MINUTE - timedelta(microseconds=1)) == {}
    assert market.marks(NOON + MINUTE) == {"AUSDT": Mark("AUSDT", Decimal("0.1"), NOON + MINUTE)}
    later = market.marks(NOON + 2 * MINUTE + 59 * SECOND)
    assert later["AUSDT"] == Mark("AUSDT", Decimal("100.0"), NOON + 2 * MINUTE)
    assert later["BUSDT"] == Mark("BUSDT", Decimal("20.5"), NOON + 2 * MINUTE)


def test_across_missing_bars_the_last_close_gets_older(folder: Path) -> None:
    market = ReplayMarket(folder)
    waiting = market.marks(NOON + 6 * MINUTE - SECOND)["AUSDT"]
    assert (str(waiting.price), waiting.as_of) == ("1E-7", NOON + 3 * MINUTE)
    assert market.marks(NOON + timedelta(days=30))["AUSDT"] == Mark("AUSDT", Decimal("3.3"), NOON + 6 * MINUTE)


def test_answers_do_not_depend_on_the_order_of_questions(folder: Path) -> None:
    instants = [NOON + second * 17 * SECOND for second in range(-5, 30)]
    forward, backward = ReplayMarket(folder), ReplayMarket(folder)
    assert [forward.marks(at) for at in instants] == [backward.marks(at) for at in reversed(instants)][::-1]


def test_a_caller_cannot_change_later_answers(folder: Path) -> None:
    market = ReplayMarket(folder)
    dict.clear(market.marks(NOON + MINUTE))  # type: ignore[arg-type]
    assert market.marks(NOON + MINUTE)


def test_depth_is_the_volume_of_the_last_complete_bar(folder: Path) -> None:
    market = ReplayMarket(folder)
    assert market.liquidity("AUSDT", NOON + MINUTE - SECOND) is None
    assert market.liquidity("AUSDT", NOON + MINUTE) == Depth("AUSDT", Decimal("7.5"), NOON + MINUTE)
    assert market.liquidity("AUSDT", NOON + 2 * MINUTE) == Depth("AUSDT", Decimal("0.0"), NOON + 2 * MINUTE)
    assert market.liquidity("NOPEUSDT", NOON + MINUTE) is None


def test_a_bar_without_volume_says_nothing_about_depth(tmp_path: Path) -> None:
    _write_bars(tmp_path / "AUSDT.parquet", [0], [1.5], [float("nan")])
    assert ReplayMarket(tmp_path).liquidity("AUSDT", NOON + MINUTE) is None


def test_start_and_end_span_what_can_be_replayed(folder: Path) -> None:
    market = ReplayMarket(folder)
    assert (market.start, market.end) == (NOON + MINUTE, NOON + 6 * MINUTE)


@pytest.mark.parametrize("zone", ["UTC", None])
def test_bars_may_lie_directly_in_the_folder(tmp_path: Path, zone: str | None) -> None:
    _write_bars(tmp_path / "AUSDT.parquet", [0], [1.5], [2.0], zone=zone)
    assert ReplayMarket(tmp_path).marks(NOON + MINUTE)["AUSDT"].price == Decimal("1.5")


def test_without_bars_the_market_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match=r"no <SYMBOL>\.parquet"):
        ReplayMarket(tmp_path / "nowhere")


@pytest.mark.parametrize("minutes", [[1, 0], [0, 0], []])
def test_bars_out_of_order_repeated_or_missing_are_refused(tmp_path: Path, minutes: list[int]) -> None:
    _write_bars(tmp_path / "AUSDT.parquet", minutes, [1.0] * len(minutes), [1.0] * len(minutes))
    with pytest.raises(MarketError, match=r"AUSDT\.parquet"):
        ReplayMarket(tmp_path)


def test_a_file_that_is_no_table_of_bars_is_named(tmp_path: Path) -> None:
    (tmp_path / "AUSDT.parquet").write_bytes(b"garbage")
    with pytest.raises(MarketError, match=r"AUSDT\.parquet is not a table of minute bars"):
        ReplayMarket(tmp_path)
    pq.write_table(pa.table({"close": [1.0]}), tmp_path / "AUSDT.parquet")
    with pytest.raises(MarketError, match=r"AUSDT\.parquet is not a table of minute bars"):
        ReplayMarket(tmp_path)


def test_filters_come_from_the_generation_nearest_in_time(folder: Path) -> None:
    sibling = folder.parent / "exchange_rest"
    old = _write_exchange_info(sibling / "binance_fapi_v1_exchangeInfo_old.json", NOON - timedelta(days=900))
    new = _write_exchange_info(sibling / "binance_fapi_v1_exchangeInfo_new.json.gz", NOON + timedelta(days=200))
    _write_exchange_info(sibling / "binance_api_v3_exchangeInfo_spot.json", NOON, {"symbol": "AUSDT"})
    market = ReplayMarket(folder / "perp")
    assert market.exchange_info(NOON) == new
    assert market.exchange_info(NOON - timedelta(days=800)) == old


def test_filters_in_the_folder_itself_come_first(folder: Path) -> None:
    _write_exchange_info(folder.parent / "exchange_rest" / "exchangeInfo.json", NOON)
    own = _write_exchange_info(folder / "exchangeInfo.json.gz", NOON - timedelta(days=1))
    assert ReplayMarket(folder).exchange_info(NOON) == own


def test_missing_or_unreadable_filters_are_named(folder: Path) -> None:
    with pytest.raises(MarketError, match=r"expected exchangeInfo\*\.json.*exchange_rest"):
        ReplayMarket(folder).exchange_info(NOON)
    (folder / "exchangeInfo.json").write_text("{}")
    with pytest.raises(MarketError, match=r"exchangeInfo\.json is not an exchange-info answer"):
        ReplayMarket(folder).exchange_info(NOON)


def test_funding_carries_the_mark_of_its_minute(folder: Path) -> None:
    rows = ["2025-05-04 12:00:00+00:00,0.0001", "2025-05-04 12:02:30+00:00,-5e-05", "2025-05-04 12:05:00+00:00,0.02"]
    (folder / "funding").mkdir()
    (folder / "funding" / "AUSDT.csv").write_text("\n".join(["timestamp_utc,funding_rate", *rows]))
    market = ReplayMarket(folder)
    published = market.funding(["AUSDT", "BUSDT"], NOON, NOON + 5 * MINUTE)
    assert published == [
        FundingRate("AUSDT", NOON + 2.5 * MINUTE, Decimal("-0.00005"), Decimal("100.0")),
        FundingRate("AUSDT", NOON + 5 * MINUTE, Decimal("0.02"), None),  # the last close is two minutes old
    ]
    assert market.funding(["AUSDT"], NOON - SECOND, NOON)[0].mark is None
    assert market.funding(["BUSDT"], NOON - timedelta(days=1), NOON + timedelta(days=1)) == []


def test_unreadable_funding_is_named(folder: Path) -> None:
    (folder / "funding").mkdir()
    (folder / "funding" / "AUSDT.csv").write_text("timestamp_utc,funding_rate\n2025-05-04,oops\n")
    with pytest.raises(MarketError, match=r"AUSDT\.csv"):
        ReplayMarket(folder).funding(["AUSDT"], NOON, NOON + MINUTE)


def test_the_replay_setting_opens_its_folder(folder: Path) -> None:
    opened = open_market(Settings(market=f"replay:{folder}"))
    assert opened.name == "REPLAY"
    assert opened.marks(NOON + MINUTE)["AUSDT"].price == Decimal("0.1")


@pytest.fixture(scope="module")
def recorded() -> ReplayMarket:
    bars = load_settings().test_data / "bars_1m"
    if not bars.is_dir():
        pytest.skip(f"no recorded bars at {bars} (DESK_TEST_DATA)")
    return ReplayMarket(bars)


@pytest.mark.real_data
def test_a_recorded_month_replays_in_seconds(recorded: ReplayMarket) -> None:
    started = time.perf_counter()
    at, late = recorded.start, 0
    while at <= recorded.end:
        late += any(mark.as_of > at for mark in recorded.marks(at).values())
        at += MINUTE
    assert late == 0
    assert time.perf_counter() - started < 60


@pytest.mark.real_data
def test_recorded_closes_are_whole_ticks_of_the_recorded_filters(recorded: ReplayMarket) -> None:
    info = json.loads(recorded.exchange_info(recorded.end))
    assert info["serverTime"] > 1_700_000_000_000  # the generation of 2025, not that of 2021
    ticks = {
        row["symbol"]: Decimal(entry["tickSize"])
        for row in info["symbols"]
        for entry in row["filters"]
        if entry["filterType"] == "PRICE_FILTER"
    }
    marks = recorded.marks(recorded.end)
    assert len(marks) == 16
    assert all(mark.price % ticks[symbol] == 0 for symbol, mark in marks.items())


@pytest.mark.real_data
def test_recorded_funding_keeps_its_real_intervals(recorded: ReplayMarket) -> None:
    day = datetime(2025, 5, 7, tzinfo=UTC)
    published = recorded.funding(["BTCUSDT", "ENAUSDT", "LAYERUSDT"], day, day + timedelta(days=1))
    count = {symbol: sum(row.symbol == symbol for row in published) for symbol in ("BTCUSDT", "ENAUSDT", "LAYERUSDT")}
    assert count == {"BTCUSDT": 3, "ENAUSDT": 6, "LAYERUSDT": 24}
    assert all(row.mark == recorded.marks(row.time)[row.symbol].price for row in published)
