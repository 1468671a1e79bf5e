"""The strip of the arbitrage page: its pills, and above them why what is shown may not be the present."""

from assets.arbitrage.view import TraderView
from dashboards.components.arbitrage_shown import clock_text, elapsed, instant
from dashboards.components.arbitrage_summary import NO_TRADER
from dashboards.components.live_strip import Notice, feed_pill, heard_ms, notice, rejected_pill, store_notices
from dashboards.components.pills import Pill, pill
from dashboards.trader_snapshot import LATE_SECONDS, STALE_SECONDS, TraderSnapshot

STALE = "The trader has stopped writing: these are its last numbers"

_NANOSECONDS = 10**9
_CATCHING_UP_SECONDS = 60


def notices(snapshot: TraderSnapshot) -> list[Notice]:
    """What is wrong, the gravest first; what only ages (``freshness``) the browser adds."""
    view = snapshot.view
    said = store_notices(snapshot, "The trader's document", NO_TRADER, empty=view is None)
    if view is None:
        return said
    if view.halted:
        said.append(notice("attention", f"Halted, no new trades: {view.halted}", "Open trades are still managed"))
    unquoted = sorted({venue for row in view.active for venue in row.missing})
    if unquoted:
        said.append(notice("attention", f"No usable quote: {', '.join(unquoted)}", "Open trades there have no value"))
    behind = _behind(snapshot, view)
    if behind:
        said.append(notice("loading", f"Catching up: {behind}", "The session is computed up to the present"))
    return said


def pills(snapshot: TraderSnapshot) -> list[Pill]:
    """Every pill in order."""
    view = snapshot.view
    if view is None:
        return [feed_pill(snapshot), pill("trader", "Trader", "None yet", "off", NO_TRADER)]
    return [
        feed_pill(snapshot),
        pill(
            "trader",
            "Trader",
            "",
            "ok",
            f"The trader writes each second; event {view.seq:,} of its log",
            since=heard_ms(snapshot),
            stale_after=LATE_SECONDS,
            attention_after=STALE_SECONDS,
        ),
        pill(
            "session",
            "Session",
            f"{instant(view.as_of_ns):%d %b %H:%M:%S}",
            "ok",
            f"The UTC day {view.day}, as of {instant(view.as_of_ns):%Y-%m-%d %H:%M:%S} by the trader's clock",
        ),
        _entries(view),
        _venues(view),
        rejected_pill(view.counts),
    ]


def _entries(view: TraderView) -> Pill:
    if view.halted:
        return pill("entries", "Entries", "Halted", "attention", view.halted)
    return pill("entries", "Entries", "Open", "ok", "Opportunities that are good enough are traded")


def _venues(view: TraderView) -> Pill:
    if not view.venues:
        return pill("venues", "Venues", "None yet", "off", "No venue has said anything today")
    ages = {venue: view.as_of_ns - time_ns for venue, time_ns in view.venues}
    silent = [venue for venue, age in ages.items() if age > STALE_SECONDS * _NANOSECONDS]
    title = "\n".join(
        f"{venue}: newest event {elapsed(time_ns, view.as_of_ns)} ago, {clock_text(time_ns, view.as_of_ns)}"
        for venue, time_ns in view.venues
    )
    if silent:
        state = "attention" if len(silent) == len(ages) else "stale"
        return pill("venues", "Venues", f"{len(silent)} of {len(ages)} silent", state, title)
    return pill("venues", "Venues", f"{len(ages)} live", "ok", title)


def _behind(snapshot: TraderSnapshot, view: TraderView) -> str:
    """How far the session is from its writing; a recording's past is no delay."""
    written = snapshot.written_at
    if written is None or snapshot.source == "RECORDED":
        return ""
    seconds = (written - instant(view.as_of_ns)).total_seconds()
    return f"at {clock_text(view.as_of_ns, view.as_of_ns)} UTC" if seconds > _CATCHING_UP_SECONDS else ""
