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
