"""The arbitrage and telemetry pages of the real server in a real browser: full, empty, stale, hostile, and living."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from dashboards import arbitrage_labels as labels
from dashboards import telemetry_labels
from resources.store import open_store
from tests.dashboards.trader_folder import HOSTILE, TraderFolder
from tests.e2e.browsing import DESKTOP, PHONE, Served, Watched, expect, needs_a_browser, no_overflow

pytestmark = needs_a_browser

TABLET = {"width": 820, "height": 1180}

Serving = Callable[..., Served]
Watching = Callable[..., Watched]


def now() -> datetime:
    return datetime.now(UTC)


def nothing_is_cut(page: Any, parts: str) -> None:
    wide = "(all) => all.filter((el) => el.scrollWidth > el.clientWidth + 1).map((el) => el.textContent)"
    assert page.locator(parts).evaluate_all(wide) == []


def fits(page: Any, viewport: dict[str, int], parts: str) -> None:
    nothing_is_cut(page, parts)
    no_overflow(page)
    if viewport is DESKTOP:
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_both_pages_fit_every_screen_with_nothing_and_with_two_hundred_trades(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    server = served(tmp_path)
    seen = [(watched(viewport), viewport) for viewport in (DESKTOP, TABLET, PHONE)]
    for each, viewport in seen:
        page = each.open(f"{server.url}/arbitrage")
        expect(page.locator(".notice")).to_have_text("No trader has written to this store yet")
        expect(page.get_by_role("heading", name=labels.ACTIVE_TRADES.format("—"), exact=True)).to_be_visible()
        expect(page.locator(".summary dt")).to_have_text(labels.SUMMARY)
        fits(page, viewport, ".card h2, .summary .number")
    full = TraderFolder(now(), trades=200, exits=50)
    tiny = {f"{leg}_{side}": Decimal("0.0000091763") for leg in ("long", "short") for side in ("bid", "ask")}
    watched_pairs = (full.opportunity(), full.opportunity(ticker="PEPEUSDT", tradable="low_confidence", **tiny))
    leg_outs = (full.leg_out(ticker="PEPEUSDT", hedge_price=Decimal("0.0000091763")),)
    moved = {"net_flows": Decimal(500), "equity": Decimal("20524.12")}
    changes = {"opportunities": watched_pairs, "leg_outs": leg_outs, **moved}
    replace(full, changes=changes).write(open_store(str(tmp_path)))
    for each, viewport in seen:
        page = each.page
        expect(page.locator(".summary .delta").first).to_have_text("flows +500.00, equity 20,524.12")
        for title in (labels.PORTFOLIO_SUMMARY, labels.ACTIVE_TRADES.format("200"), labels.RECENT_EXITS):
            expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        expect(page.locator(".notice")).to_have_count(0)
        expect(page.locator(".market")).to_have_text("SIMULATED")
        expect(page.locator(".active tbody tr")).to_have_count(200)
        expect(page.locator(".capital path.equity")).to_be_attached()
        for head in labels.ACTIVE:
            expect(page.locator(".active").get_by_role("columnheader", name=head, exact=True)).to_be_visible()
        fits(page, viewport, ".card h2, .summary .number, .summary .delta span, .active tbody tr:first-child td")
        nothing_is_cut(page, ".scroll, .opportunities th, .opportunities td")
        page.keyboard.press("4")
        expect(page.locator(".record").first).to_be_visible()
        expect(page.locator("body.alive")).to_be_attached()
        names = page.locator(".record tbody th").all_text_contents()
        assert sorted(names) == sorted(telemetry_labels.IMMUTABLE)
        fits(page, viewport, ".record tbody th, .record .value, .card h2, .alarms .why")
        if viewport is DESKTOP:
            high = "(all) => all.filter((el) => el.scrollHeight > el.clientHeight + 1).map((el) => el.textContent)"
            assert page.locator(".levels .scroll, .record .scroll").evaluate_all(high) == []
        each.clean()


def test_numbers_move_where_they_stand_and_a_trader_that_stops_is_announced(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    store = open_store(str(tmp_path))
    folder = TraderFolder(now(), trades=40)
    folder.write(store)
    server = served(tmp_path)
    seen = watched()
    page = seen.open(f"{server.url}/arbitrage?filter=btc")
    first = page.locator(".active tbody tr").first  # the oldest trade
    expect(page.locator(".active tbody tr")).to_have_count(10)
    expect(first.locator("td[data-col=pnl]")).to_have_text("−602.80")
    page.locator(".active .scroll").evaluate("(el) => { el.scrollTop = 60; el.querySelector('tbody tr').kept = true }")
    rows = [folder.active(number) for number in range(40)]
    rows[36] = replace(rows[36], unrealized_pnl=Decimal("-7.50"), current_spread_bps=None, missing=("bybit",))
    replace(folder, now=now(), changes={"active": tuple(rows), "halted": "the hedge failed"}).write(store)
    expect(first.locator("td[data-col=pnl]")).to_have_text("−7.50")
    expect(first.locator("td[data-col=spread]")).to_have_text("—")
    assert "bybit" in first.locator("td[data-col=spread]").get_attribute("title")
    assert first.evaluate("(tr) => tr.kept")
    assert page.locator(".active .scroll").evaluate("(el) => el.scrollTop") == 60
    expect(page.locator(".notice").first).to_contain_text("Halted, no new trades: the hedge failed")

    # Sorted by a click, filtered by a key, and both kept in the address.
    page.get_by_role("button", name=labels.UNREALIZED_PNL).click()
    page.keyboard.press("/")
    page.keyboard.type("eth")
    expect(page.locator(".active tbody th").first).to_have_text("ETHUSDT")
    expect(page.locator(".active th[aria-sort=descending]")).to_have_text(labels.UNREALIZED_PNL)
    expect(page).to_have_url(f"{server.url}/arbitrage?filter=eth&sort=-pnl")
    page.keyboard.press("Escape")
    expect(page.locator(".active tbody tr")).to_have_count(40)

    # The crosshair reads the chart out, by pointer and by key.
    page.locator(".day").focus()
    page.keyboard.press("Home")
    expect(page.locator(".capital .hint")).to_contain_text("00:00")

    # Nobody writes any more: the browser itself says so, with the server alive or not.
    page.evaluate("(() => { const now = Date.now; Date.now = () => now() + 60000 })()")
    server.kill()
    expect(page.locator(".staleness")).to_have_text("The trader has stopped writing: these are its last numbers")
    expect(page.locator("[data-key=trader]")).to_have_attribute("data-state", "attention")


def test_texts_from_the_outside_stay_texts_and_telemetry_that_is_old_says_so(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    store = open_store(str(tmp_path))
    folder = TraderFolder(now() - timedelta(hours=1))
    hostile = {
        "active": (folder.active(0, ticker=HOSTILE, status=HOSTILE, long_exchange=HOSTILE),),
        "exits": (folder.exit(0, ticker=HOSTILE, reason=HOSTILE),),
        "opportunities": (folder.opportunity(short_exchange=HOSTILE, confidence_parts=((HOSTILE, 3),), confidence=3),),
        "leg_outs": (folder.leg_out(ticker=HOSTILE, phase=HOSTILE),),
        "halted": HOSTILE,
    }
    replace(folder, changes=hostile).write(store)
    server = served(tmp_path)
    seen = watched()
    page = seen.open(f"{server.url}/arbitrage")
    expect(page.locator(".exits td[data-col=reason]")).to_have_text(HOSTILE)
    expect(page.locator(".opportunities tbody tr").first).to_contain_text(HOSTILE)
    assert page.locator(".arbitrage img").count() == 0

    page = seen.open(f"{server.url}/telemetry")
    expect(page.locator(".staleness")).to_have_text("Telemetry has stopped: these are its last numbers")
    expect(page.locator(".alarms [data-state=firing] .name")).to_have_text("drawdown")
    expect(page.locator(".levels [data-passed=false] .state")).to_have_text("not met")
    expect(page.get_by_text("no Redis: REDIS_URL is not set").first).to_be_visible()
    fresh = now().replace(microsecond=0)
    TraderFolder(fresh).write(store)
    expect(page.locator("[data-metric=timestamp] .value")).to_have_text(f"{fresh:%H:%M:%S}")
    expect(page.locator(".staleness")).to_have_count(0)
    seen.clean()


def test_a_saved_table_is_what_is_shown_with_every_digit(tmp_path: Path, served: Serving, watched: Watching) -> None:
    folder = TraderFolder(now(), trades=8)
    exact = Decimal("45.200000000000000000001")
    rows = tuple(folder.active(number, unrealized_pnl=exact - number) for number in range(8))
    replace(folder, changes={"active": rows}).write(open_store(str(tmp_path)))
    server = served(tmp_path)
    seen = watched()
    page = seen.open(f"{server.url}/arbitrage?filter=btc&sort=pnl")
    expect(page.locator(".active tbody tr")).to_have_count(2)
    saved = downloaded(page, f"{labels.ACTIVE_TRADES.format(8)} as CSV", r"arbitrage_active_\d{8}T\d{6}Z\.csv")
    assert [(row["ticker"], row["unrealized_pnl"]) for row in saved] == [
        ("BTCUSDT", str(exact - 4)),
        ("BTCUSDT", str(exact)),
    ]
    removed = downloaded(page, f"{labels.OPPORTUNITIES} as CSV", r"arbitrage_opportunities_\d{8}T\d{6}Z\.csv")
    assert [row["removed_reason"] for row in removed] == ["", "", "spread_gone"]

    page.keyboard.press("4")
    expect(page.locator(".record").first).to_be_visible()
    found = downloaded(page, "Metrics as CSV", r"telemetry_metrics_\d{8}T\d{6}Z\.csv")
    assert [row["metric"] for row in found] == list(telemetry_labels.IMMUTABLE)
    expect(page.get_by_text("no backtest stored yet").first).to_be_visible()
    seen.clean()


def downloaded(page: Any, button: str, name: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    assert re.fullmatch(name, download.value.suggested_filename)
    return list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
