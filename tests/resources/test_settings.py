"""Settings: what is misspelt or impossible is named, and a secret never is."""

import pytest

from resources.settings import load_settings


@pytest.mark.parametrize("feed", ["simulated", "recorded:/data", "live:binance,bybit"])
def test_a_feed_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch, feed: str) -> None:
    monkeypatch.setenv("DESK_FEED", feed)
    assert load_settings().feed == feed


@pytest.mark.parametrize("feed", ["", "recorded:", "live:", "recorded", "binance"])
def test_another_feed_is_refused(monkeypatch: pytest.MonkeyPatch, feed: str) -> None:
    monkeypatch.setenv("DESK_FEED", feed)
    with pytest.raises(ValueError, match="is none of simulated, recorded"):
        load_settings()


def test_redis_is_reached_by_the_variable_others_know_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://:word@host:6380/0")
    assert load_settings().redis_url == "rediss://:word@host:6380/0"
    monkeypatch.setenv("DESK_REDIS_URL", "redis://host")
    with pytest.raises(ValueError, match="unknown settings DESK_REDIS_URL"):
        load_settings()


def test_a_refused_address_does_not_stand_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://:password@host")
    with pytest.raises(ValueError, match="must begin with redis:// or rediss://") as refused:
        load_settings()
    assert "password" not in str(refused.value)
    assert "password" not in repr(refused.value)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"DESK_ARBITRAGE_FILL_THRESHOLD": "4"},
            "DESK_ARBITRAGE_FILL_THRESHOLD: Input should be less than or equal to 1",
        ),
        ({"DESK_MARKET": "word"}, "DESK_MARKET: is none of simulated, replay:<folder>, binance"),
        ({"REDIS_URL": "word"}, "REDIS_URL: must begin with redis:// or rediss:// (its value is not shown)"),
        ({"DESK_AUTH": "off", "DESK_HOST": "word"}, "DESK_AUTH=off needs a loopback address in DESK_HOST"),
        (
            {"DESK_SEED": "word", "DESK_TICK_SECONDS": "90"},
            "DESK_SEED: Input should be a valid integer, unable to parse string as an integer\n"
            "DESK_TICK_SECONDS: Input should be less than or equal to 60",
        ),
    ],
    ids=str,
)
def test_what_is_refused_is_one_line_for_each_variable_and_no_value(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"DESK_|REDIS_URL") as refused:
        load_settings()
    assert str(refused.value) == said
