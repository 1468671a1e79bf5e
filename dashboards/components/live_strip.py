"""What the strips of both live pages share: whether store and writer answer, and where the data come from."""

from collections.abc import Iterable
from typing import Any

from dashboards.components.pills import Pill, milliseconds, pill
from dashboards.live_poller import LiveSnapshot

STARTED_BY = "Started by: desk up"

Notice = dict[str, str]

_START = "Start it: desk up"


def notice(state: str, said: str, title: str) -> Notice:
    """A sentence above everything else; ``state`` is loading, disconnected or attention."""
    return {"state": state, "text": said, "title": title}


def store_notices(snapshot: LiveSnapshot, document: str, nothing: str, *, empty: bool) -> list[Notice]:
    """Why what is shown may not be the present, the gravest first; what only ages (``freshness``) the browser adds.

    ``document`` is whose the stored document is, ``nothing`` what is said while there is none (``empty``).
    """
    if not snapshot.version:
        return [notice("loading", "Reading the store", "")]
    said = []
    if snapshot.disconnected:
        read = snapshot.seen_at
        as_of = "nothing was read yet" if read is None else f"values as of {read:%H:%M:%S} UTC"
        said.append(notice("disconnected", f"Store not answering, {as_of}", snapshot.disconnected))
    if snapshot.unreadable:
        said.append(notice("attention", f"{document} cannot be read", snapshot.unreadable))
    if empty and not said:
        said.append(notice("attention", nothing, _START))
    return said


def freshness(snapshot: LiveSnapshot, stale_after: int | None, stale: str) -> dict[str, Any]:
    """From when on the writer's word counts (ms, None while it said nothing), after how many seconds it is old (None:
    never), and what is said then."""
    return {"since": heard_ms(snapshot), "stale_after": stale_after, "text": stale, "title": _START}


def heard_ms(snapshot: LiveSnapshot) -> int | None:
    """``heard_at`` as the browser counts time."""
    return None if snapshot.heard_at is None else milliseconds(snapshot.heard_at)


def feed_pill(snapshot: LiveSnapshot) -> Pill:
    """Where the paper trader's market data come from."""
    return pill("market", "Feed", snapshot.source, "ok", _FEED[snapshot.source])


def rejected_pill(counts: Iterable[tuple[str, int]]) -> Pill:
    """How many feed events were refused, and by reason."""
    refused = list(counts)
    title = "\n".join(f"{reason.replace('_', ' ')}: {count:,}" for reason, count in refused)
    total = sum(count for _, count in refused)
    return pill("rejected", "Rejected events", f"{total:,}", "ok", title or "Every event of the feed made sense today")


_FEED = {
    "SIMULATED": "Quotes and books are drawn by a simulation, not by any venue",
    "RECORDED": "Quotes and books are replayed from a recording",
    "LIVE": "Quotes and books come from the venues themselves; trades are paper",
}
