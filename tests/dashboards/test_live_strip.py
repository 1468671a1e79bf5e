"""What both live pages say above their numbers, whoever writes them."""

from dataclasses import replace
from datetime import timedelta

from dashboards.components.live_strip import feed_pill, freshness, heard_ms, rejected_pill, store_notices
from dashboards.live_poller import LiveSnapshot
from tests.dashboards.trader_folder import NOW

SEEN = LiveSnapshot("SIMULATED", 3, written_at=NOW, seen_at=NOW)


def said(snapshot: LiveSnapshot, *, empty: bool = False) -> list[tuple[str, str]]:
    return [(each["state"], each["text"]) for each in store_notices(snapshot, "It", "Nothing yet", empty=empty)]


def test_the_gravest_comes_first_and_silence_is_nothing_s_fault_while_the_store_is_away() -> None:
    assert said(SEEN) == []
    assert said(LiveSnapshot("LIVE"), empty=True) == [("loading", "Reading the store")]
    assert said(LiveSnapshot("LIVE", 1), empty=True) == [("attention", "Nothing yet")]
    lost = replace(SEEN, disconnected="no route", unreadable="no view")
    assert said(lost, empty=True) == [
        ("disconnected", "Store not answering, values as of 16:30:12 UTC"),
        ("attention", "It cannot be read"),
    ]
    assert said(LiveSnapshot("LIVE", 1, disconnected="x"), empty=True) == [
        ("disconnected", "Store not answering, nothing was read yet")
    ]


def test_age_counts_from_the_earlier_of_written_and_seen_and_there_is_none_before_either() -> None:
    late = replace(SEEN, seen_at=NOW + timedelta(hours=1))
    ahead = replace(SEEN, written_at=NOW + timedelta(hours=1))
    assert heard_ms(late) == heard_ms(ahead) == heard_ms(SEEN) == round(NOW.timestamp() * 1000)
    shown = freshness(LiveSnapshot("LIVE"), None, "old")
    assert (shown["since"], shown["stale_after"], shown["text"]) == (None, None, "old")


def test_the_feed_names_its_source_and_refusals_their_reasons() -> None:
    assert feed_pill(SEEN)["text"] == "SIMULATED"
    assert "simulation" in feed_pill(SEEN)["title"]
    assert rejected_pill([])["text"] == "0"
    refused = rejected_pill({"crossed_book": 1_200, "zero_price": 1}.items())
    assert (refused["text"], refused["title"]) == ("1,201", "crossed book: 1,200\nzero price: 1")
