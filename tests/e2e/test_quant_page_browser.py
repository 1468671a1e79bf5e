"""The quant page of the real server, looked at with a real browser: normal, empty, stale and extreme documents."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dashboards import quant_labels as labels
from resources.store import open_store
from tests.dashboards.quant_folder import QuantFolder
from tests.e2e.browsing import DESKTOP, PHONE, Served, Watched, expect, needs_a_browser, no_overflow

pytestmark = needs_a_browser

DAY = timedelta(days=1)

Serving = Callable[..., Served]
Watching = Callable[..., Watched]


def today() -> date:
    return datetime.now(UTC).date()


def stored(folder: Path, decision: QuantFolder) -> Path:
    """Both symbols' documents in ``folder``; the second symbol leans the other way."""
    store = open_store(str(folder))
    decision.write(store)
    replace(decision, symbol="ETHUSDT", bias=-decision.bias, options=True).write(store)
    return folder


# What the documents of BTC and of ETH are made of.
KINDS: dict[str, tuple[dict[str, Any], ...]] = {
    "empty": (),
    "normal and refused": ({}, {"refusal": "2 bars missing"}),
    "refused slices": (
        {"refused": (0, 12), "uncalibrated": "0 rows in 28 days, 10 needed"},
        {"cost_gaps": "funding unknown on 12 traded days", "uncalibrated": "next due 2026-03-05"},
    ),
    "huge and tiny": (
        {"scale": 1e9, "bias": 1.0, "probability": 1.0, "day_return": -0.071},
        {"scale": 1e-12, "bias": -0.91, "days": 1, "folds": 1},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_decision_renders_cleanly_on_desk_and_phone(
    kind: str, tmp_path: Path, served: Serving, watched: Watching
) -> None:
    for symbol, make in zip(("BTCUSDT", "ETHUSDT"), KINDS[kind], strict=False):
        QuantFolder(today(), symbol=symbol, **make).write(open_store(str(tmp_path)))
    server = served(tmp_path)
    for viewport, symbol in ((DESKTOP, "BTC"), (DESKTOP, "ETH"), (PHONE, "BTC"), (PHONE, "ETH")):
        seen = watched(viewport)
        page = seen.open(f"{server.url}/quant?symbol={symbol}")
        for label in labels.CARDS:
            expect(page.get_by_role("heading", name=label, exact=True)).to_be_visible()
        for label in (labels.EXECUTE_NOW, labels.BACKTEST, labels.RUN_NOW, labels.BACKTEST_30D):
            expect(page.get_by_role("link", name=label, exact=True)).to_be_visible()
        expect(page.locator(".market")).to_have_text("SIMULATED")
        if not KINDS[kind]:
            expect(page.get_by_text("No decision yet").first).to_be_visible()
        if viewport is DESKTOP:
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            for part in page.locator(".card h2, .number, .card dd").all():
                assert part.evaluate("(el) => el.scrollWidth <= el.clientWidth + 1"), part.text_content()
            for card in page.locator(".card").all():
                assert card.evaluate("(el) => el.scrollHeight <= el.clientHeight + 1"), card.text_content()
        no_overflow(page)
        seen.clean()


def test_between_phone_and_desk_the_page_is_no_wider_than_the_screen(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    server = served(stored(tmp_path, QuantFolder(today())))
    for width in (740, 800, 1024):
        seen = watched({"width": width, "height": 900})
        page = seen.open(f"{server.url}/quant")
        expect(page.get_by_role("link", name=labels.BACKTEST_30D, exact=True)).to_be_visible()
        no_overflow(page)
        seen.clean()


def test_why_there_was_no_calibration_yet_is_read_in_full(tmp_path: Path, served: Serving, watched: Watching) -> None:
    server = served(stored(tmp_path, QuantFolder(today(), uncalibrated="3 rows in 28 days, 10 needed")))
    for viewport in (DESKTOP, PHONE):
        seen = watched(viewport)
        page = seen.open(f"{server.url}/quant")
        reason = page.get_by_text("never yet: 3 rows in 28 days, 10 needed")
        expect(reason).to_be_visible()
        assert reason.evaluate("(el) => el.scrollWidth <= el.clientWidth && el.scrollHeight <= el.clientHeight")
        seen.clean()


def test_the_symbol_is_chosen_by_click_and_key_and_kept_in_the_address(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    server = served(stored(tmp_path, QuantFolder(today())))
    seen = watched()
    page = seen.open(f"{server.url}/quant")
    bias = page.locator(".bias .number")
    expect(bias).to_have_text("+0.34")
    page.get_by_role("button", name="ETH").click()
    expect(bias).to_have_text("−0.34")
    expect(page.locator("[data-key=options] b")).to_have_text("ON")
    assert page.url.endswith("symbol=ETH")
    page.reload()
    expect(bias).to_have_text("−0.34")
    page.keyboard.press("[")
    expect(bias).to_have_text("+0.34")
    page.keyboard.press("1")
    expect(page.get_by_role("heading", name="Portfolio Value").first).to_be_visible()
    page.keyboard.press("2")
    expect(bias).to_be_visible()
    seen.clean()


def test_a_decision_of_another_day_closes_the_gate_and_a_new_one_opens_it(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    server = served(stored(tmp_path, QuantFolder(today() - 2 * DAY)))
    seen = watched()
    page = seen.open(f"{server.url}/quant")
    state = page.locator(".gate .state")
    expect(state).to_have_text("GATE-OFF")
    expect(state).to_have_attribute("data-look", "attention")
    expect(page.locator(".gate .why")).to_contain_text("Stale: decided for")
    expect(page.locator(".staleness")).to_be_visible()
    expect(page.locator("[data-key=age]")).to_have_attribute("data-state", "attention")
    stored(tmp_path, QuantFolder(today()))
    expect(state).to_have_text("RISK-ON", timeout=90_000)
    expect(page.locator(".staleness")).to_have_count(0)
    seen.clean()


def test_the_browser_closes_the_gate_by_itself_when_the_day_ends(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    server = served(stored(tmp_path, QuantFolder(today())))
    seen = watched()
    page = seen.open(f"{server.url}/quant")
    state = page.locator(".gate .state")
    expect(state).to_have_text("RISK-ON")
    server.kill()
    page.evaluate("(() => { const now = Date.now; Date.now = () => now() + 86400000 })()")
    expect(state).to_have_text("GATE-OFF")
    expect(page.locator(".connection")).to_contain_text("lost")


def test_export_saves_the_decision_shown_and_import_says_why_it_is_off(
    tmp_path: Path, served: Serving, watched: Watching
) -> None:
    day = today()
    decision = QuantFolder(day)
    server = served(stored(tmp_path, decision))
    seen = watched()
    page = seen.open(f"{server.url}/quant?symbol=eth")
    with page.expect_download() as download:
        page.get_by_role("button", name=labels.EXPORT).click()
    assert download.value.suggested_filename == f"decision_ETHUSDT_{day}.json"
    exported = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert exported == replace(decision, symbol="ETHUSDT", bias=-decision.bias, options=True).decision()
    for label in (labels.IMPORT, labels.THEME):
        button = page.get_by_role("button", name=label)
        expect(button).to_have_attribute("aria-disabled", "true")
        assert button.get_attribute("title")
    seen.clean()
