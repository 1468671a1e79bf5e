"""Which history a setting opens, and what every history promises."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from assets.research.data.contracts import BARS_1H, FUNDING_SETTLEMENTS, OPEN_INTEREST, check, check_form
from resources.history import History, HistoryError, open_history
from resources.market import MarketError
from resources.settings import Settings, load_settings
from tests.resources.history_parts import record

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
END = datetime(2024, 3, 13, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path, "BTCUSDT", END - 10 * DAY, days=12)
    (tmp_path / "bars_1m" / "perp").mkdir(parents=True)
    return tmp_path


@pytest.fixture(params=["simulated", "recorded"])
def history(request: pytest.FixtureRequest, folder: Path) -> History:
    kind = {"simulated": "simulated", "recorded": f"recorded:{folder}"}[request.param]
    return open_history(Settings(history=kind))


def test_an_empty_setting_follows_the_market(folder: Path) -> None:
    assert open_history(Settings()).source == "SIMULATED"
    assert open_history(Settings(market="binance")).source == "BINANCE"
    for replayed in (folder, folder / "bars_1m", folder / "bars_1m" / "perp"):
        assert open_history(Settings(market=f"replay:{replayed}")).source == "RECORDED"


def test_a_setting_of_its_own_wins(folder: Path) -> None:
    assert open_history(Settings(market="binance", history="simulated")).source == "SIMULATED"
    assert open_history(Settings(history=f"recorded:{folder}")).source == "RECORDED"
    assert open_history(Settings(history="binance")).source == "BINANCE"


def test_a_replay_without_hourly_bars_never_falls_back_to_made_up_ones(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    with pytest.raises(HistoryError, match="set DESK_HISTORY to recorded:<folder>"):
        open_history(Settings(market=f"replay:{tmp_path / 'a' / 'b' / 'c'}"))


def test_a_recorded_folder_without_bars_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="parquet"):
        open_history(Settings(history=f"recorded:{tmp_path}"))


@pytest.mark.parametrize("value", ["recorded", "recorded:", "replay:/x", "SIMULATED", "synthetic"])
def test_an_unknown_history_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match=r"simulated, recorded:<folder>, binance"):
        Settings(history=value)


def test_symbols_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().research_symbols == ("BTCUSDT", "ETHUSDT")
    monkeypatch.setenv("DESK_RESEARCH_SYMBOLS", "SOLUSDT, BTCUSDT")
    assert load_settings().research_symbols == ("SOLUSDT", "BTCUSDT")


@pytest.mark.parametrize("value", ["", "BTCUSDT,", "BTCUSDT,BTCUSDT", "btcusdt"])
def test_a_list_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings(research_symbols=value)


def test_tables_have_the_form_of_their_contracts(history: History) -> None:
    bars = history.hourly_bars("BTCUSDT", END - 3 * DAY, END)
    assert check(bars, BARS_1H, END) == []
    assert len(bars) == 72
    assert check(history.funding("BTCUSDT", END - 3 * DAY, END), FUNDING_SETTLEMENTS, END) == []
    levels = history.open_interest("BTCUSDT", END - 3 * DAY, END)
    if levels is None:
        assert history.absence("open_interest", "BTCUSDT") != ""
    else:
        assert check(levels, OPEN_INTEREST, END) == []


def test_nothing_that_was_not_over_is_returned(history: History) -> None:
    for end in (END, END - timedelta(microseconds=1), END - timedelta(minutes=59), END + timedelta(minutes=59)):
        bars = history.hourly_bars("BTCUSDT", END - DAY, end)
        assert bars["timestamp_utc"].iloc[-1] == end.replace(minute=0, second=0, microsecond=0) - HOUR
        settlements = history.funding("BTCUSDT", END - DAY, end)
        assert settlements["timestamp_utc"].iloc[-1] == (END if end > END else END - 8 * HOUR)


def test_a_window_begins_at_its_start(history: History) -> None:
    for start, first in ((END - DAY, END - DAY), (END - DAY + timedelta(minutes=1), END - 23 * HOUR)):
        assert history.hourly_bars("BTCUSDT", start, END)["timestamp_utc"][0] == first
    assert history.funding("BTCUSDT", END - DAY, END)["timestamp_utc"][0] == END - DAY
    assert history.funding("BTCUSDT", END - DAY + HOUR, END)["timestamp_utc"][0] == END - 16 * HOUR


def test_a_longer_window_says_the_same_about_the_shorter(history: History) -> None:
    questions: list[Callable[[datetime], pd.DataFrame]] = [
        lambda end: history.hourly_bars("BTCUSDT", END - 5 * DAY, end),
        lambda end: history.funding("BTCUSDT", END - 5 * DAY, end),
    ]
    for question in questions:
        earlier = question(END - 2 * DAY)
        pd.testing.assert_frame_equal(earlier, question(END).head(len(earlier)))


def test_an_empty_window_is_a_table_of_the_same_form(history: History) -> None:
    bars = history.hourly_bars("BTCUSDT", END, END)
    settlements = history.funding("BTCUSDT", END + HOUR, END + HOUR)
    assert (len(bars), len(settlements)) == (0, 0)
    assert check_form(bars, BARS_1H) == check_form(settlements, FUNDING_SETTLEMENTS) == []


def test_an_unknown_symbol_is_an_error_not_a_table(history: History) -> None:
    with pytest.raises(MarketError, match="NOPEUSDT"):
        history.hourly_bars("NOPEUSDT", END - DAY, END)
