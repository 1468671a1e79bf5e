"""Kill the desk at every store operation, before and after it is applied, and run it again: nothing may differ.

The whole store is compared byte for byte: audit sets, plain-named objects, ledger segments, marks and log.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from assets.desk.desk import Desk
from assets.desk.detection import look
from assets.desk.rebalance import run_rebalance
from assets.desk.tick import Ticker
from assets.desk.verify import verify
from resources.clock import ManualClock
from resources.market import Depth, FundingRate
from resources.store import Store
from resources.store.local import LocalStore
from tests.desk_parts import DAY, D, Parts, file_name, market_of, signal_csv
from tests.faults.dying_store import DyingStore, Killed
from tests.faults.interrupted_store import InterruptedStore
from tests.memory_store import MemoryStore

When = Literal["before", "after"]
NEVER = 10**9

DAY_ONE = {"A_USDT": ("400", 1), "B_USDT": ("-300", -1), "C_USDT": ("200", 1), "E_USDT": ("100", 1)}
# A crosses zero, B left, C grows, D opens, E shrinks and is offered too little to do so in full.
DAY_TWO = {"A_USDT": ("-200", -1), "C_USDT": ("500", 1), "D_USDT": ("-300", -1), "E_USDT": ("10", 1)}


def second_morning(store: Store) -> Parts:
    """A desk that executed its first signal, lived a day of minutes and finds the second in its inbox."""
    parts = Parts(
        market_of({"AUSDT": "50000", "BUSDT": "3000", "CUSDT": "200", "DUSDT": "0.5", "EUSDT": "7"}, max_qty="400000"),
        store,
    )
    parts.tick()
    parts.execute(DAY_ONE)
    parts.minutes(3)
    parts.clock.move_to(parts.clock.now() + DAY)
    parts.market.prices |= {"AUSDT": D("50500.5"), "BUSDT": D("2987.25")}
    parts.market.rates = [
        FundingRate(symbol, parts.clock.now().replace(hour=0, minute=0, second=0), D("0.0001"), D(mark))
        for symbol, mark in (("AUSDT", 50100), ("BUSDT", 3001))
    ]
    parts.tick()
    parts.market.offers = {"EUSDT": Depth("EUSDT", D(100), parts.clock.now())}
    parts.drop(file_name(parts.clock.now()), signal_csv(DAY_TWO))
    return parts


Step = Callable[[Desk], object]


class Morning:
    """The second morning up to where a step begins: many desks can start there, each on its own copy."""

    def __init__(self, prepare: Callable[[Parts], Step]) -> None:
        self._parts = second_morning(MemoryStore())
        self.step = prepare(self._parts)
        self._at = self._parts.clock.now()

    def copy(self) -> MemoryStore:
        assert isinstance(self._parts.store, MemoryStore)
        return self._parts.store.copy()

    def desk(self, store: Store) -> Desk:
        desk = self._parts.desk(store)
        return Desk(desk.settings, store, desk.market, ManualClock(self._at), desk.venue)

    def uninterrupted(self) -> tuple[dict[str, bytes], int]:
        store = self.copy()
        counted = DyingStore(store, NEVER, "before")
        self.step(self.desk(counted))
        return store.contents(), counted.operations

    def killed_and_run_again(self, die_at: int, when: When) -> dict[str, bytes]:
        store = self.copy()
        with suppress(Killed):
            self.step(self.desk(DyingStore(store, die_at, when)))
        self.step(self.desk(store))
        return store.contents()


def detecting(parts: Parts) -> Step:
    """The second look, which freezes a file; beside it lies an older one that is to be superseded."""
    older = file_name(parts.clock.now() - DAY).replace("DF", "LATE")
    parts.drop(older, signal_csv({"A_USDT": ("1", 1)}))
    parts.look()
    parts.clock.sleep(5)
    return lambda desk: look(desk, parts.sightings)


def rebalancing(parts: Parts) -> Step:
    (rebalance_id,) = parts.detect()
    return lambda desk: run_rebalance(desk, rebalance_id)


def first_rebalance_of_a_virgin_desk(parts: Parts) -> Step:
    """Nothing logged yet: the log must begin before pre_execution does."""
    parts.store = MemoryStore()
    parts.sightings, parts.ticker = {}, None
    parts.drop(file_name(parts.clock.now()), signal_csv(DAY_TWO))
    return rebalancing(parts)


def ticking(parts: Parts) -> Step:
    """A tick with funding to post, by a fresh ticker."""
    parts.clock.sleep(60)
    at = parts.clock.now().replace(second=1)
    parts.market.rates += [FundingRate("CUSDT", at, D("-0.0003"), D(201))]
    return lambda desk: Ticker(desk).tick()


STEPS = {"detection": detecting, "rebalance": rebalancing, "first": first_rebalance_of_a_virgin_desk, "tick": ticking}


@pytest.fixture(scope="module", params=STEPS.values(), ids=STEPS)
def morning(request: pytest.FixtureRequest) -> Morning:
    return Morning(request.param)


def test_the_uninterrupted_second_day_does_what_the_faults_are_to_hit() -> None:
    """Closes, a zero-cross, an increase, an opening, a partial fill, funding and a superseded file: all there."""
    parts = second_morning(MemoryStore())
    (rebalance_id,) = parts.detect()
    outcome = run_rebalance(parts.desk(), rebalance_id)
    orders = parts.audit(rebalance_id, "sized_orders.json")
    legs = {order["order_id"].split("-", 1)[1] for order in (*orders["reductions"], *orders["increases"])}
    assert {"AUSDT-reduce-1", "AUSDT-open-1", "BUSDT-reduce-1", "CUSDT-open-1", "EUSDT-reduce-1"} <= legs
    assert "DUSDT-open-2" in legs, "one order is split"
    assert (outcome["status"], outcome["reason"]) == ("partial", "insufficient_depth")
    assert parts.desk().ledger().book().funding != 0
    assert verify(parts.desk()).differences == ()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_operation_and_run_again_nothing_differs(morning: Morning, when: When) -> None:
    expected, operations = morning.uninterrupted()
    assert operations > 5
    for die_at in range(1, operations + 1):
        contents = morning.killed_and_run_again(die_at, when)
        assert _difference(expected, contents) == "", f"killed {when} operation {die_at} of {operations}"


def test_killed_twice_in_a_row_nothing_differs(morning: Morning) -> None:
    expected, operations = morning.uninterrupted()
    for first in range(1, operations + 1, 3):
        for second in range(1, operations + 1, max(1, operations // 12)):
            store = morning.copy()
            for die_at, when in ((first, "before"), (second, "after")):
                with suppress(Killed):
                    morning.step(morning.desk(DyingStore(store, die_at, when)))  # type: ignore[arg-type]
            morning.step(morning.desk(store))
            assert _difference(expected, store.contents()) == "", f"killed at {first}, then at {second}"


def test_another_process_doing_the_same_step_in_between_changes_nothing(morning: Morning) -> None:
    """Two daemons on one folder: the second does the whole step right before any operation of the first."""
    expected, operations = morning.uninterrupted()
    for at in range(1, operations + 1):
        store = morning.copy()
        desk = morning.desk(store)
        morning.step(morning.desk(InterruptedStore(store, at, lambda desk=desk: morning.step(desk))))
        assert _difference(expected, store.contents()) == "", f"interrupted at operation {at} of {operations}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_resumed_later_at_other_prices_the_books_still_balance(when: When) -> None:
    """Half a minute passes and prices move between the kill and the resumption: other fills, the same rules."""
    morning = Morning(rebalancing)
    _, operations = morning.uninterrupted()
    for die_at in range(1, operations + 1):
        store = morning.copy()
        with suppress(Killed):
            morning.step(morning.desk(DyingStore(store, die_at, when)))
        parts = second_morning(MemoryStore())
        parts.store = store
        parts.clock = ManualClock(morning.desk(store).clock.now())
        parts.clock.sleep(30)
        parts.market.prices["AUSDT"] += 100
        morning.step(parts.desk())
        assert verify(parts.desk()).differences == (), f"killed {when} operation {die_at}"
        outcomes = list(parts.outcomes().values())
        assert outcomes == ["executed", "partial"]
        assert parts.document("execution.json")["state"] == "idle"


def _difference(expected: dict[str, bytes], found: dict[str, bytes]) -> str:
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            return f"{key}:\n  {expected.get(key)!r}\nbut\n  {found.get(key)!r}"
    return ""


# --- on a real folder ----------------------------------------------------------------------------------------------


def test_killed_on_a_real_folder_nothing_differs(tmp_path: Path) -> None:
    """A sample of the deaths above on the store that users have."""

    def morning_at(folder: str) -> tuple[Parts, str]:
        parts = second_morning(LocalStore(tmp_path / folder))
        (rebalance_id,) = parts.detect()
        return parts, rebalance_id

    parts, rebalance_id = morning_at("uninterrupted")
    counted = DyingStore(parts.store, NEVER, "before")
    run_rebalance(parts.desk(counted), rebalance_id)
    expected = _files(tmp_path / "uninterrupted")
    for die_at in range(1, counted.operations, 11):
        parts, rebalance_id = morning_at(f"killed-{die_at}")
        with suppress(Killed):
            run_rebalance(parts.desk(DyingStore(parts.store, die_at, "after")), rebalance_id)
        run_rebalance(parts.desk(LocalStore(parts.store.url)), rebalance_id)
        assert _difference(expected, _files(Path(parts.store.url))) == "", f"killed after operation {die_at}"


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and not file.relative_to(root).parts[0].startswith(".")
    }


@pytest.mark.parametrize("attempt", range(3))
def test_two_threads_at_one_rebalance_place_one_set_of_orders(tmp_path: Path, attempt: int) -> None:
    single = second_morning(LocalStore(tmp_path / "single"))
    (rebalance_id,) = single.detect()
    run_rebalance(single.desk(), rebalance_id)
    parts = second_morning(LocalStore(tmp_path / f"double-{attempt}"))
    assert parts.detect() == (rebalance_id,)
    errors = _at_once(lambda: run_rebalance(parts.desk(LocalStore(parts.store.url)), rebalance_id))
    assert errors == []
    assert _difference(_files(tmp_path / "single"), _files(tmp_path / f"double-{attempt}")) == ""


def test_two_daemons_freeze_one_file_once(tmp_path: Path) -> None:
    parts = second_morning(LocalStore(tmp_path))
    parts.look()
    parts.clock.sleep(5)
    found: list[tuple[str, ...]] = []
    errors = _at_once(lambda: found.append(look(parts.desk(LocalStore(parts.store.url)), parts.sightings).pending))
    assert errors == []
    assert found[0] == found[1]
    assert len(found[0]) == 1
    assert len(list(parts.store.list("detections/"))) == 2, "the first day's and one for today"


def _at_once(act: Callable[[], object]) -> list[BaseException]:
    errors: list[BaseException] = []
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
