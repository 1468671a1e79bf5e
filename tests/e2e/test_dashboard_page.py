"""The real server in its own process, looked at with a real browser."""

import csv
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from assets.desk.artifacts import EXECUTION, PORTFOLIO_VALUE_LOG
from resources.documents import load_document, to_iso
from tests.dashboards.desk_folder import DeskFolder
from tests.e2e.browsing import DESKTOP, PHONE, Served, Watched, expect, needs_a_browser, no_overflow

pytestmark = needs_a_browser


def now() -> datetime:
    return datetime.now(UTC)


def symbols(page: Any) -> list[str]:
    return page.locator("tbody tr td[data-col=symbol]").all_text_contents()


def column(page: Any, name: str) -> list[float]:
    texts = page.locator(f"tbody tr td[data-col={name}]").all_text_contents()
    return [float(text.replace(",", "").replace("−", "-").removesuffix("%")) for text in texts]


KINDS: dict[str, dict[str, Any] | None] = {
    "empty": None,
    "one row": {"minutes": 1},
    "normal": {"minutes": 8 * 1440, "missing": frozenset(range(30, 37))},
    "two hundred positions": {"symbols": 200},
    "huge": {"scale": 1e6},
    "tiny and wild": {"scale": 1e-4, "volatility": 0.03, "minutes": 2000},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_store_renders_cleanly_on_desk_and_phone(
    kind: str, tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    make = KINDS[kind]
    if make is not None:
        DeskFolder(tmp_path, now(), **make).build()
    server = served(tmp_path)
    for viewport in (DESKTOP, PHONE):
        seen = watched(viewport)
        page = seen.open(server.url)
        expect(page.get_by_role("heading", name="Portfolio Value").first).to_be_visible()
        expect(page.get_by_role("heading", name="Daily P&L")).to_be_visible()
        expect(page.get_by_role("heading", name="Total P&L Since Inception")).to_be_visible()
        if make is None:
            expect(page.get_by_text("Waiting for the first CSV in inbox/").first).to_be_visible()
            expect(page.locator(".market")).to_be_hidden()
        else:
            expect(page.locator(".market")).to_have_text("SIMULATED")
            expect(page.locator("tbody tr")).to_have_count(make.get("symbols", 14))
        if viewport is DESKTOP:
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            for title in page.locator(".card h2").all():
                assert title.evaluate("(el) => el.scrollWidth <= el.clientWidth + 1"), title.text_content()
            for number in page.locator(".number").all():
                card = number.locator("xpath=ancestor::*[contains(@class,'card')][1]")
                inside = number.evaluate("(el) => el.scrollWidth <= el.clientWidth + 1")
                assert inside, (card.text_content(), number.text_content())
        no_overflow(page)
        seen.clean()


def test_sorting_is_numeric_filtering_narrows_and_csv_equals_the_view(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    DeskFolder(tmp_path, now(), symbols=60).build()
    seen = watched()
    page = seen.open(served(tmp_path).url)
    assert column(page, "pnl") == sorted(column(page, "pnl"), reverse=True)
    for name in ("quantity", "mark", "pct", "weight"):
        head = page.locator(f"th[data-col={name}] button")
        head.click()
        expect(page.locator(f"th[data-col={name}]")).to_have_attribute("aria-sort", "descending")
        assert column(page, name) == sorted(column(page, name), reverse=True)
        head.click()
        expect(page.locator(f"th[data-col={name}]")).to_have_attribute("aria-sort", "ascending")
        assert column(page, name) == sorted(column(page, name))
    page.keyboard.press("/")
    page.keyboard.type("coin01")
    expect(page.locator("tbody tr")).to_have_count(6)
    assert all("COIN01" in symbol for symbol in symbols(page))
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert re.fullmatch(r"desk_positions_\d{8}T\d{6}Z\.csv", download.value.suggested_filename)
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert [row["symbol"] for row in rows] == symbols(page)
    assert [round(float(row["weight"]) * 100, 2) for row in rows] == pytest.approx(column(page, "weight"), abs=0.011)
    page.keyboard.press("Escape")
    expect(page.locator("tbody tr")).to_have_count(60)
    page.keyboard.press("/")
    page.keyboard.type("nothing like it")
    expect(page.get_by_text("No symbol contains")).to_be_visible()
    seen.clean()


def test_the_address_restores_range_sort_and_filter(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    DeskFolder(tmp_path, now(), minutes=40 * 1440).build()
    server = served(tmp_path)
    seen = watched()
    page = seen.open(server.url)
    page.get_by_role("button", name="1W", exact=True).click()
    expect(page.get_by_role("button", name="1W", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("[")
    expect(page.get_by_role("button", name="1D", exact=True)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("]")
    page.locator("th[data-col=symbol] button").click()
    page.get_by_role("searchbox").fill("USD")
    expect(page).to_have_url(re.compile(r"range=1W.*sort=symbol.*filter=USD"))
    page.reload()
    expect(page.locator("body.alive")).to_be_attached()
    expect(page.get_by_role("button", name="1W", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("th[data-col=symbol]")).to_have_attribute("aria-sort", "ascending")
    assert symbols(page) == sorted(symbols(page))
    expect(page.get_by_role("searchbox")).to_have_value("USD")
    seen.clean()


def test_the_wheel_zooms_names_its_range_and_double_click_returns(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    DeskFolder(tmp_path, now(), minutes=40 * 1440).build()
    seen = watched()
    page = seen.open(f"{served(tmp_path).url}/?range=1M")
    plot = page.locator(".plot")
    expect(plot.locator("canvas").first).to_be_attached()
    box = plot.bounding_box()
    x, y = box["x"] + 400, box["y"] + 100

    def by_hand(gesture: Callable[[], None], done: Callable[[], bool]) -> None:
        """Again until it is answered, as a hand does: a canvas that is there may not listen yet, and drawing it again
        for a new minute takes away what it said of the place under a mouse that rests."""
        until = time.monotonic() + 90
        while not done():
            assert time.monotonic() < until
            page.mouse.move(x + 1, y)
            page.mouse.move(x, y)
            gesture()
            page.wait_for_timeout(200)

    by_hand(lambda: page.mouse.wheel(0, -400), lambda: re.search(r"range=\d+-\d+", page.url) is not None)
    expect(page.locator(".ranges [aria-pressed=true]")).to_have_count(0)
    tooltip = page.locator(".bk-Tooltip", has_text="UTC")
    by_hand(lambda: None, lambda: tooltip.count() > 0)
    by_hand(lambda: page.mouse.dblclick(x, y), lambda: "range=1M" in page.url)
    seen.clean()


def test_a_stopped_feed_raises_the_age_and_flips_the_pill(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    server_up = served(tmp_path)
    seen = watched()
    page = seen.open(server_up.url)
    data = page.locator("[data-key=data]")
    # Twenty seconds before it is too old, and shown already: the start of a page is not among them.
    DeskFolder(tmp_path, now() - timedelta(seconds=100)).build()
    expect(data).to_have_attribute("data-state", "ok")
    expect(data).to_have_attribute("data-state", "stale", timeout=90_000)
    expect(page.locator("[data-key=prices]")).to_have_attribute("data-state", "attention")
    expect(page.locator("[data-card=pv] .age.old")).to_be_visible()
    seen.clean()


def test_new_rows_and_a_started_execution_arrive_by_themselves(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    folder = DeskFolder(tmp_path, now()).build()
    seen = watched()
    page = seen.open(served(tmp_path).url)
    hero = page.locator("[data-card=pv] .number")
    before = hero.text_content()
    folder.append(now() + timedelta(minutes=1), 250.0)
    expect(hero).not_to_have_text(before)
    execution = load_document((tmp_path / EXECUTION).read_bytes())
    started = {"state": "executing", "step": "fills", "started_utc": to_iso(now())}
    folder.put(EXECUTION, execution | started)
    expect(page.locator("[data-key=executor]")).to_have_attribute("data-state", "busy")
    seen.clean()


def test_a_store_that_stops_answering_is_announced_over_the_last_numbers(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    DeskFolder(tmp_path, now()).build()
    seen = watched()
    page = seen.open(served(tmp_path).url)
    value = page.locator("[data-card=pv] .number").text_content()
    log = tmp_path / PORTFOLIO_VALUE_LOG
    log.rename(tmp_path / "away")
    expect(page.get_by_role("status")).to_contain_text("Store not answering")
    expect(page.locator("[data-card=pv] .number")).to_have_text(value)
    (tmp_path / "away").rename(log)
    expect(page.get_by_text("Store not answering")).to_have_count(0)
    seen.clean()


def test_a_killed_server_is_announced_and_the_page_recovers_with_its_view(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    DeskFolder(tmp_path, now(), minutes=10 * 1440).build()
    server = served(tmp_path)
    seen = watched()
    page = seen.open(f"{server.url}/?range=1W")
    server.kill()
    expect(page.locator(".lost")).to_be_visible()
    expect(page.locator(".lost")).to_contain_text("Values are frozen")
    server.start()
    expect(page.locator("body.silent")).to_have_count(0, timeout=90_000)
    expect(page.locator("body.alive")).to_be_attached(timeout=90_000)
    expect(page.locator(".lost")).to_be_hidden()
    expect(page.get_by_role("button", name="1W", exact=True)).to_have_attribute("aria-pressed", "true")
    assert seen.outside == []


def test_help_opens_with_a_question_mark(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    seen = watched()
    page = seen.open(served(tmp_path).url)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_login_keeps_strangers_out_and_lets_the_right_password_in(
    tmp_path: Path, served: Callable[..., Served], watched: Callable[..., Watched]
) -> None:
    store = tmp_path / "store"
    DeskFolder(store, now()).build()
    users = tmp_path / "users"
    users.write_bytes(b"ada:" + bcrypt.hashpw(b"right", bcrypt.gensalt(4)) + b"\n")
    server = served(store, DESK_AUTH="bcrypt", DESK_USERS_FILE=str(users), DESK_COOKIE_SECRET="s" * 40)
    seen = watched()
    page = seen.page
    page.goto(f"{server.url}/?range=1W")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("User").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Wrong user or password.")
    # The browser itself logs the refused POST as an error.
    assert [error for error in seen.errors if "401" not in error] == []
    seen.errors.clear()
    page.get_by_label("User").fill("ada")
    page.get_by_label("Password").fill("right")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("body.alive")).to_be_attached(timeout=90_000)
    expect(page.get_by_role("button", name="1W", exact=True)).to_have_attribute("aria-pressed", "true")
    cookies = {cookie["name"]: cookie for cookie in seen.context.cookies()}
    assert cookies["user"]["httpOnly"]
    assert cookies["user"]["sameSite"] == "Lax"
    seen.clean()
    page.get_by_role("link", name="Sign out").click()
    expect(page).to_have_url(re.compile("/login"))
    page.goto(server.url)
    expect(page).to_have_url(re.compile("/login"))


@pytest.mark.parametrize("path", ["/", "/ws", "/?range=1D", "/autoload.js?bokeh-autoload-element=1"])
def test_without_a_login_no_address_gives_data(path: str, tmp_path: Path, served: Callable[..., Served]) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"ada:" + bcrypt.hashpw(b"right", bcrypt.gensalt(4)) + b"\n")
    store = tmp_path / "store"
    DeskFolder(store, now()).build()
    server = served(store, DESK_AUTH="bcrypt", DESK_USERS_FILE=str(users), DESK_COOKIE_SECRET="s" * 40)
    try:
        with urllib.request.urlopen(f"{server.url}{path}") as answer:
            code, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        code, body = refusal.code, refusal.read().decode()
    assert "Sign in" in body if code == 200 else code in (400, 401, 403)
    assert "BTCUSDT" not in body


def test_open_addresses_answer_without_a_login_and_hold_no_data(tmp_path: Path, served: Callable[..., Served]) -> None:
    DeskFolder(tmp_path, now()).build()
    server = served(tmp_path)
    for path, kind in (("/boot", "id"), ("/healthz", "page"), ("/theme/shell.css", "--page")):
        with urllib.request.urlopen(f"{server.url}{path}") as answer:
            body = answer.read().decode()
            assert kind in body
            assert "USDT" not in body
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.url}/theme/../app.py")
