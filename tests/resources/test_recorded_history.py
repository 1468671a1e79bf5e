"""RecordedHistory: what the files say, with their holes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.research.data.contracts import (
    BARS_1H,
    FUNDING_SETTLEMENTS,
    OPTION_LEVELS,
    check,
    check_form,
    check_gaps,
    daily_funding,
    options_moves,
)
from resources.history import HistoryError
from resources.history.option_surface import black_76
from resources.history.recorded import RecordedHistory, read_option_book
from resources.settings import Settings
from tests.resources.history_parts import record, write_csv

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
ALL = (START - 9999 * DAY, START + 9999 * DAY)
DATA = Settings().test_data
real_data = pytest.mark.skipif(not (DATA / "bars_1h").is_dir(), reason=f"no recorded hourly bars in {DATA}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path, "BTCUSDT", START, days=5)
    return tmp_path


def write_book(folder: Path, as_of: datetime, volatility: float, coin: str = "btc") -> Path:
    """A book summary in the exchange's columns: 31 strikes a side of four expiries, one volatility, prices in coin."""
    rows = []
    for days in (2, 10, 25, 40):
        date = as_of.replace(hour=0, minute=0, second=0) + days * DAY
        years = (date + 8 * HOUR - as_of) / DAY / 365
        for strike in 50_000 * np.exp(np.linspace(-0.6, 0.6, 31)):
            for kind in "CP":
                arguments = (np.array([value]) for value in (50_000.0, strike, years, volatility))
                price = black_76(*arguments, np.array([kind == "C"]))[0]
                rows.append(
                    {
                        "creation_timestamp": int(as_of.timestamp() * 1000),
                        "underlying_price": 50_000.0,
                        "mark_price": price / 50_000,
                        "expire_date": f"{date:%d%b%y}".upper().lstrip("0"),
                        "strike_price": strike,
                        "option_type": kind,
                    }
                )
    file = folder / "options" / f"deribit_{coin}_book_summary_{as_of:%Y-%m-%dT%H}.csv.gz"
    write_csv(file, pd.DataFrame(rows))
    return file


def test_a_hole_in_the_file_is_a_hole_in_the_table(folder: Path) -> None:
    file = folder / "bars_1h" / "perp" / "BTCUSDT.parquet"
    bars = pd.read_parquet(file)
    bars.drop(index=[30, 31]).to_parquet(file)
    table = RecordedHistory(folder).hourly_bars("BTCUSDT", *ALL)
    assert len(table) == 118
    (finding,) = check_gaps(table, BARS_1H)
    assert (finding.at, finding.until) == (START + 30 * HOUR, START + 31 * HOUR)


def test_a_recorded_fault_is_handed_over_for_the_contract_to_find(folder: Path) -> None:
    file = folder / "bars_1h" / "perp" / "BTCUSDT.parquet"
    bars = pd.read_parquet(file)
    bars.loc[30, "close"] = np.nan
    bars.loc[31, "close"] = 0.0
    bars.loc[32, "volume"] = -1.0
    pd.concat([bars, bars.iloc[[50]]]).to_parquet(file)
    findings = check(RecordedHistory(folder).hourly_bars("BTCUSDT", *ALL), BARS_1H)
    assert [finding.rule for finding in findings] == ["order", "duplicate", "missing", "range", "range"]


def test_the_recording_survives_what_a_reader_does_to_its_table(folder: Path) -> None:
    history = RecordedHistory(folder)
    table = history.hourly_bars("BTCUSDT", *ALL)
    table["close"] = 0.0
    assert (history.hourly_bars("BTCUSDT", *ALL)["close"] > 0).all()


def test_funding_of_several_recordings_is_joined_and_its_hole_stays(folder: Path) -> None:
    later = pd.DataFrame({"timestamp_utc": [START + 5 * DAY + 16 * HOUR, START + 6 * DAY], "funding_rate": [0.1, 0.2]})
    overlap = pd.DataFrame({"timestamp_utc": [START + 4 * DAY + 16 * HOUR], "funding_rate": [0.0001]})
    write_csv(folder / "funding_oi" / "funding_2025" / "BTCUSDT.csv", pd.concat([overlap, later]))
    table = RecordedHistory(folder).funding("BTCUSDT", *ALL)
    assert len(table) == 17
    (finding,) = check_gaps(table, FUNDING_SETTLEMENTS)
    assert (finding.at, finding.until) == (START + 4 * DAY + 16 * HOUR, START + 5 * DAY + 16 * HOUR)


def test_recordings_that_disagree_are_an_error(folder: Path) -> None:
    other = pd.DataFrame({"timestamp_utc": [START], "funding_rate": [0.9]})
    write_csv(folder / "funding_oi" / "funding_2025" / "BTCUSDT.csv", other)
    with pytest.raises(HistoryError, match="disagree about the settlement at 2024-03-01"):
        RecordedHistory(folder).funding("BTCUSDT", *ALL)


def test_what_is_not_recorded_is_missing_with_a_reason(folder: Path) -> None:
    record(folder, "ETHUSDT", START, days=2)
    (folder / "funding_oi" / "open_interest_eth_daily.csv").unlink()
    (folder / "funding_oi" / "funding" / "ETHUSDT.csv").unlink()
    history = RecordedHistory(folder)
    assert history.open_interest("ETHUSDT", *ALL) is None
    assert history.absence("open_interest", "ETHUSDT") == "no open interest of ETHUSDT is recorded"
    assert history.absence("open_interest", "BTCUSDT") == ""
    assert history.option_levels("ETHUSDT", *ALL) is None
    assert history.absence("option_levels", "ETHUSDT") == "no option book of ETH is recorded"
    assert len(history.funding("ETHUSDT", *ALL)) == 0
    with pytest.raises(HistoryError, match=r"no hourly bars of ADAUSDT.*ADAUSDT\.parquet"):
        history.hourly_bars("ADAUSDT", *ALL)


def test_open_interest_is_of_days_that_are_over(folder: Path) -> None:
    table = RecordedHistory(folder).open_interest("BTCUSDT", START, START + 2 * DAY + 23 * HOUR)
    assert table is not None
    assert table["date_utc"].tolist() == [START, START + DAY]
    assert table["oi_usd"].tolist() == [1e9, 1e9 + 1]


def test_one_option_book_makes_no_move_and_the_reason_says_so(folder: Path) -> None:
    write_book(folder, START + 11 * HOUR, 0.5)
    history = RecordedHistory(folder)
    assert history.option_levels("BTCUSDT", *ALL) is None
    assert history.absence("option_levels", "BTCUSDT") == (
        "option books of BTC are recorded of 2024-03-01 only; a move needs two days in a row"
    )


def test_option_moves_compare_the_last_books_of_two_days(folder: Path) -> None:
    for hours, volatility in ((11, 0.5), (20, 0.6), (35, 0.7), (80, 0.9)):
        write_book(folder, START + hours * HOUR, volatility)
    history = RecordedHistory(folder)
    levels = history.option_levels("BTCUSDT", *ALL)
    assert levels is not None
    assert check_form(levels, OPTION_LEVELS) == []
    assert levels["date_utc"].tolist() == [START, START + DAY, START + 3 * DAY]
    moves = options_moves(levels)
    assert moves["date_utc"].tolist() == [START + DAY]  # the fourth day has none before it
    assert moves.iloc[0, 1:].to_numpy(dtype=float) == pytest.approx([0, 0], abs=1e-6)
    assert history.absence("option_levels", "BTCUSDT") == ""
    before = history.option_levels("BTCUSDT", START, START + 2 * DAY - HOUR)
    assert before is not None
    assert before["date_utc"].tolist() == [START]


def test_an_option_book_that_cannot_be_used_is_named(folder: Path) -> None:
    file = write_book(folder, START, 0.5)
    rows = pd.read_csv(file)
    rows[rows["expire_date"] == "3MAR24"].to_csv(file, index=False)
    with pytest.raises(HistoryError, match=f"{file.name}.*both sides of 7 days"):
        RecordedHistory(folder).option_levels("BTCUSDT", *ALL)
    file.write_bytes(b"not gzip")
    with pytest.raises(HistoryError, match="not an option book summary"):
        read_option_book(file)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "timestamp_utc,funding_rate\nyesterday,0.1\n"])
def test_a_file_that_is_no_table_is_an_error_naming_it(folder: Path, content: str) -> None:
    (folder / "funding_oi" / "funding" / "BTCUSDT.csv").write_text(content)
    with pytest.raises(HistoryError, match=r"BTCUSDT\.csv is not a table of timestamp_utc, funding_rate"):
        RecordedHistory(folder).funding("BTCUSDT", *ALL)


def test_stamps_without_a_zone_are_refused_and_other_zones_become_utc(folder: Path) -> None:
    file = folder / "funding_oi" / "funding" / "BTCUSDT.csv"
    file.write_text("timestamp_utc,funding_rate\n2024-03-01 09:00:00+01:00,0.1\n")
    assert RecordedHistory(folder).funding("BTCUSDT", *ALL)["timestamp_utc"].tolist() == [START + 8 * HOUR]
    file.write_text("timestamp_utc,funding_rate\n2024-03-01 08:00:00,0.1\n")
    with pytest.raises(HistoryError, match="carries no time zone"):
        RecordedHistory(folder).funding("BTCUSDT", *ALL)


def test_a_damaged_parquet_file_is_an_error_naming_it(folder: Path) -> None:
    file = folder / "bars_1h" / "perp" / "BTCUSDT.parquet"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(HistoryError, match=r"BTCUSDT\.parquet is not a table"):
        RecordedHistory(folder).hourly_bars("BTCUSDT", *ALL)


@real_data
@pytest.mark.real_data
def test_the_recorded_folder_is_read() -> None:
    history, end = RecordedHistory(DATA), datetime(2025, 1, 1, tzinfo=UTC)
    bars = history.hourly_bars("BTCUSDT", datetime(2019, 1, 1, tzinfo=UTC), end)
    assert len(bars) == 46_591
    assert check(bars, BARS_1H, end) == []
    assert bars["close"].iloc[-1] == 93_548.9
    layer = daily_funding(history.funding("LAYERUSDT", *ALL))
    assert layer["funding"].min() < -0.05  # hourly rates of up to -2 % add up
    levels = history.open_interest("BTCUSDT", *ALL)
    assert levels is not None
    assert len(levels) == 503
    assert history.open_interest("ETHUSDT", *ALL) is None
    assert history.option_levels("ETHUSDT", *ALL) is None
    assert "2024-01-08 only" in history.absence("option_levels", "ETHUSDT")


@real_data
@pytest.mark.real_data
def test_the_hole_between_the_two_recordings_of_funding_is_found() -> None:
    (finding,) = check_gaps(RecordedHistory(DATA).funding("BTCUSDT", *ALL), FUNDING_SETTLEMENTS)
    assert (finding.at, finding.until) == (
        datetime(2024, 12, 31, 16, tzinfo=UTC),
        datetime(2025, 3, 6, 16, tzinfo=UTC),
    )
