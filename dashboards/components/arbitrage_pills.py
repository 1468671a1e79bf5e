"""The strip of the arbitrage page: its pills, and above them why what is shown may not be the present."""

from collections.abc import Sequence
from datetime import datetime

from assets.arbitrage.view import TraderView
from dashboards.components.arbitrage_shown import Shown, clock_text, elapsed, instant
from dashboards.components.pills import Pill, milliseconds
from dashboards.trader_snapshot import LATE_SECONDS, STALE_SECONDS, TraderSnapshot

NOTHING_YET = "No trader has written to this store yet"
STALE = "The trader has stopped writing: these are its last numbers"

_NANOSECONDS = 10**9
_CATCHING_UP_SECONDS = 60


def notices(snapshot: TraderSnapshot) -> list[Shown]:
    """What is wrong, the gravest first; what only ages (``freshness``) the browser adds."""
    said = []
    if not snapshot.version:
        return [_notice("loading", "Reading the store", "")]
    if snapshot.disconnected:
        read = snapshot.seen_at
        as_of = "nothing was read yet" if read is None else f"values as of {read:%H:%M:%S} UTC"
        said.append(_notice("disconnected", f"Store not answering, {as_of}", snapshot.disconnected))
    if snapshot.unreadable:
        said.append(_notice("attention", "The trader's document cannot be read", snapshot.unreadable))
    view = snapshot.view
    if view is None:
        if not said:
            said.append(_notice("attention", NOTHING_YET, "Start it: desk up"))
        return said
    if view.halted:
        said.append(_notice("attention", f"Halted, no new trades: {view.halted}", "Open trades are still managed"))
    unquoted = sorted({venue for row in view.active for venue in row.missing})
    if unquoted:
        said.append(_notice("attention", f"No usable quote: {', '.join(unquoted)}", "Open trades there have no value"))
    behind = _behind(snapshot, view)
    if behind:
        said.append(_notice("loading", f"Catching up: {behind}", "The session is computed up to the present"))
    return said


def freshness(snapshot: TraderSnapshot) -> Shown:
    """From when on the trader's word counts (ms, None while it said nothing) and after how many seconds it is old."""
    return {"since": _heard_ms(snapshot), "stale_after": STALE_SECONDS, "text": STALE, "title": "Start it: desk up"}


def pills(snapshot: TraderSnapshot) -> list[Pill]:
    """Every pill in order."""
    view = snapshot.view
    market: Pill = {
        "key": "market",
        "label": "Feed",
        "text": snapshot.source,
        "state": "ok",
        "title": _FEED[snapshot.source],
    }
    if view is None:
        return [market, _pill("trader", "Trader", "None yet", "off", NOTHING_YET)]
    return [
        market,
        _pill(
            "trader",
            "Trader",
            "",
            "ok",
            f"The trader writes each second; event {view.seq:,} of its log",
            since=_heard_ms(snapshot),
            stale_after=LATE_SECONDS,
            attention_after=STALE_SECONDS,
        ),
        _pill(
            "session",
            "Session",
            f"{instant(view.as_of_ns):%d %b %H:%M:%S}",
            "ok",
            f"The UTC day {view.day}, as of {instant(view.as_of_ns):%Y-%m-%d %H:%M:%S} by the trader's clock",
        ),
        _entries(view),
        _venues(view),
        _rejected(view.counts),
    ]


def _entries(view: TraderView) -> Pill:
    if view.halted:
        return _pill("entries", "Entries", "Halted", "attention", view.halted)
    return _pill("entries", "Entries", "Open", "ok", "Opportunities that are good enough are traded")


def _venues(view: TraderView) -> Pill:
    if not view.venues:
        return _pill("venues", "Venues", "None yet", "off", "No venue has said anything today")
    ages = {venue: view.as_of_ns - time_ns for venue, time_ns in view.venues}
    silent = [venue for venue, age in ages.items() if age > STALE_SECONDS * _NANOSECONDS]
    title = "\n".join(
        f"{venue}: newest event {elapsed(time_ns, view.as_of_ns)} ago, {clock_text(time_ns, view.as_of_ns)}"
        for venue, time_ns in view.venues
    )
    if silent:
        state = "attention" if len(silent) == len(ages) else "stale"
        return _pill("venues", "Venues", f"{len(silent)} of {len(ages)} silent", state, title)
    return _pill("venues", "Venues", f"{len(ages)} live", "ok", title)


def _rejected(counts: Sequence[tuple[str, int]]) -> Pill:
    total = sum(count for _, count in counts)
    title = "\n".join(f"{reason.replace('_', ' ')}: {count:,}" for reason, count in counts)
    return _pill("rejected", "Rejected events", f"{total:,}", "ok", title or "Every event of the feed made sense today")


_FEED = {
    "SIMULATED": "Quotes and books are drawn by a simulation, not by any venue",
    "RECORDED": "Quotes and books are replayed from a recording",
    "LIVE": "Quotes and books come from the venues themselves; trades are paper",
}


def _behind(snapshot: TraderSnapshot, view: TraderView) -> str:
    """How far the session is from its writing; a recording's past is no delay."""
    written = snapshot.written_at
    if written is None or snapshot.source == "RECORDED":
        return ""
    seconds = (written - instant(view.as_of_ns)).total_seconds()
    return f"at {clock_text(view.as_of_ns, view.as_of_ns)} UTC" if seconds > _CATCHING_UP_SECONDS else ""


def _heard_ms(snapshot: TraderSnapshot) -> int | None:
    """The earlier of when it was written and first seen: a clock that is ahead makes nothing look newer."""
    heard: list[datetime] = [at for at in (snapshot.written_at, snapshot.seen_at) if at is not None]
    return milliseconds(min(heard)) if heard else None


def _notice(state: str, said: str, title: str) -> Shown:
    return {"state": state, "text": said, "title": title}


def _pill(key: str, label: str, shown: str, state: str, title: str, **more: object) -> Pill:
    return {"key": key, "label": label, "text": shown, "state": state, "title": title, **more}
