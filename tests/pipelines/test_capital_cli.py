"""``desk capital`` from the outside, and the resident trader that follows it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from assets.arbitrage import instructions, trading_day
from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.events import EntriesResumed, Event, FlowPosted, Halted, InstructionRefused
from assets.arbitrage.instructions import TAKEN, Instruction, Kind, give, given_after
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import day_key, portfolio_before, start_of, stored_events
from assets.arbitrage.view import live_from_document, live_key
from pipelines.cli import main
from pipelines.terminal import REFUSED
from pipelines.trader import Trader
from resources.clock import ManualClock
from resources.documents import dump_document, load_document
from resources.feed import NANOSECONDS
from resources.store import Store
from resources.store.local import LocalStore
from tests.faults.watched_store import WatchedStore
from tests.memory_store import MemoryStore
from tests.redis_server import needs_redis, redis_server
from tests.trading_parts import DAY, NEXT_DAY, ScriptedFeed, at, desk_of, evenings, traded_through

SEED = 9
EVENING = at(DAY, 86_400 - 65)
WRONG_USAGE = 2


def feed(source: str = "SIMULATED", **options: object) -> ScriptedFeed:
    return ScriptedFeed(evenings(SEED), source=source, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    for name in [name for name in os.environ if name.startswith("DESK_") or name == "REDIS_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DESK_STORE", str(tmp_path / "store"))
    return LocalStore(tmp_path / "store")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no trader runs nothing is waited for."""
    monkeypatch.setattr("pipelines.capital_cli._PATIENCE_S", 0.0)


def run(*arguments: str) -> Result:
    # By way of the whole command line: a command that was called on its own keeps no ``-h`` for other tests.
    result = CliRunner().invoke(main, ["capital", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def trading(store: Store, feed: ScriptedFeed) -> Iterator[Callable[[], ArbitrageDesk]]:
    """A trader that steps in a thread, a quarter of a second of its clock at a time, until it is left."""
    desk, ended = desk_of(store, feed, now=EVENING), threading.Event()
    trader = Trader(desk)

    def trade() -> None:
        while not ended.wait(0.005):
            trader.step()
            if desk.clock.now() < at(NEXT_DAY, -2):
                desk.clock.sleep(0.25)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield lambda: desk
    finally:
        ended.set()
        thread.join()
        trader.close()


def taken(store: Store, day: str = DAY) -> list[Event]:
    return [event for event in stored_events(store, "SIMULATED", day) if isinstance(event, TAKEN)]


def flows(store: Store, day: str = DAY) -> list[Decimal]:
    return [event.amount for event in taken(store, day) if isinstance(event, FlowPosted)]


# --- the command ---


def test_a_running_trader_answers(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.capital_cli._PATIENCE_S", 120.0)  # the machine may be slow
    with trading(store, feed()):
        deposited = run("deposit", "5000.25", "--note", "more")
        too_much = run("withdraw", "1000000")
        withdrawn = run("withdraw", "1000")
        nothing = run("resume")
    assert (deposited.exit_code, withdrawn.exit_code) == (0, 0)
    assert deposited.stdout.startswith("deposited 5,000.25; available is now ")
    assert withdrawn.stdout.startswith("withdrew 1,000; available is now ")
    assert deposited.stdout.endswith(" USD\n")
    assert (too_much.exit_code, nothing.exit_code) == (REFUSED, REFUSED)
    assert too_much.stderr.startswith("refused: only ")
    assert nothing.stderr == "refused: nothing is halted\n"
    events = taken(store)
    assert [type(event) for event in events] == [FlowPosted, InstructionRefused, FlowPosted, InstructionRefused]
    assert events[0].note == "more"  # type: ignore[union-attr]


@pytest.mark.usefixtures("impatient")
def test_without_a_trader_it_is_stored_for_the_next_one(store: LocalStore) -> None:
    first, second = run("deposit", "5"), run("resume", "--note", "seen to")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == "stored as instruction 1; no trader has taken it yet, it will when it runs\n"
    assert second.stdout.startswith("stored as instruction 2; ")
    assert [(given.number, given.note) for given in given_after(store, "SIMULATED", 0)] == [(1, ""), (2, "seen to")]  # type: ignore[union-attr]
    desk = desk_of(store, feed(), now=EVENING)
    trader = Trader(desk)
    while not trader.step():
        continue
    trader.close()
    assert flows(store) == [5]


@pytest.mark.usefixtures("impatient", "store")
@pytest.mark.parametrize("amount", ["0", "-5", "nan", "inf", "1e40", "five", "0.0000001", "1,000", "", "9" * 500])
@pytest.mark.parametrize("command", ["deposit", "withdraw"])
def test_what_is_no_amount_is_wrong_usage_said_once(command: str, amount: str, tmp_path: Path) -> None:
    result = run(command, "--", amount)
    assert result.exit_code == WRONG_USAGE
    assert result.stderr.count("Error: ") == 1
    assert len(result.stderr.splitlines()[-1]) < 200
    assert list(LocalStore(tmp_path / "store").list("arbitrage/")) == []


@pytest.mark.usefixtures("impatient", "store")
def test_a_note_over_two_lines_is_wrong_usage(tmp_path: Path) -> None:
    assert run("resume", "--note", "one\ntwo").exit_code == WRONG_USAGE
    assert list(LocalStore(tmp_path / "store").list("arbitrage/")) == []


@pytest.mark.usefixtures("impatient")
def test_a_recorded_past_takes_no_instructions(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_FEED", "recorded:/nowhere")
    result = run("deposit", "5")
    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert "a recorded past takes no instructions" in result.stderr
    assert list(store.list("arbitrage/")) == []


@pytest.mark.usefixtures("impatient")
def test_without_a_view_a_closing_that_contradicts_itself_is_one_line(store: LocalStore) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    traded_through(desk_of(store, feed()), yesterday)
    key = day_key("SIMULATED", yesterday, "closing.json")
    closing = load_document(store.read(key).data)
    closing["state"]["total_open"] += 1
    store.write(key, dump_document(closing))
    result = run("deposit", "5")
    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert result.stderr.startswith("desk: the newest closed day cannot be gone on from: carried trades reserve ")
    assert len(result.stderr.splitlines()) == 1
    assert not list(store.list("arbitrage/simulated/instructions/"))


@pytest.mark.usefixtures("impatient")
def test_a_view_that_cannot_be_read_is_no_answer(store: LocalStore) -> None:
    store.write(live_key("SIMULATED"), b'{"written_utc": "2026-')
    assert run("deposit", "5").stdout.startswith("stored as instruction 1; no trader has taken it yet")


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Store, int], None]], None]:
    """Has something done with the store and the number of what is given, before the command looks for its answer."""

    def follow(then: Callable[[Store, int], None]) -> None:
        def given_and_followed(store: Store, *arguments: Any, **options: Any) -> Instruction:
            given = give(store, *arguments, **options)
            then(store, given.number)
            return given

        monkeypatch.setattr(instructions, "give", given_and_followed)

    return follow


def over_midnight(store: Store, _number: int) -> None:
    stepped(desk_of(store, feed(), now=at(NEXT_DAY, -0.5)), at(NEXT_DAY, 3))
    view, _ = live_from_document(load_document(store.read(live_key("SIMULATED")).data))
    assert (view.day, view.taken, view.instructions) == (NEXT_DAY, 1, ())


@pytest.mark.usefixtures("impatient", "store")
def test_taken_right_before_midnight_the_answer_is_in_the_log_of_the_day_before(followed) -> None:  # type: ignore[no-untyped-def]
    followed(over_midnight)
    answer = run("deposit", "5")
    assert answer.exit_code == 0
    assert answer.stdout.startswith("deposited 5; available is now ")


@pytest.mark.usefixtures("impatient", "store")
def test_refused_right_before_midnight_it_says_why(followed) -> None:  # type: ignore[no-untyped-def]
    followed(over_midnight)
    answer = run("withdraw", "1000000")
    assert answer.exit_code == REFUSED
    assert answer.stderr.startswith("refused: only ")


@pytest.mark.usefixtures("impatient", "store")
def test_where_the_log_of_the_day_before_cannot_be_read_it_says_where_to_look(followed) -> None:  # type: ignore[no-untyped-def]
    def damaged(store: Store, number: int) -> None:
        over_midnight(store, number)
        first = next(iter(store.list(f"arbitrage/simulated/{DAY}/log/"))).key
        store.write(first, b"garbage")

    followed(damaged)
    answer = run("deposit", "5")
    assert (answer.exit_code, answer.stdout) == (
        0, "instruction 1 is taken; what became of it stands in the log of its day\n"
    )  # fmt: skip


# --- a number that was used ---


def traded_a_little(store: Store, *_: object) -> None:
    stepped(desk_of(store, feed(), now=EVENING), EVENING + timedelta(seconds=2))


def forget(store: LocalStore, number: int) -> None:
    """As a rule of a bucket does with old objects."""
    (Path(store.url) / f"arbitrage/simulated/instructions/{number:08d}.json").unlink()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("view", [b"", b"of another version"])
def test_what_was_taken_and_deleted_leaves_no_number_to_be_given_again(store: LocalStore, view: bytes) -> None:
    """It would never be taken, and the answer would be another one's. Known from the view, else from the closing."""
    assert run("deposit", "5").exit_code == 0
    stepped(desk_of(store, feed(), now=at(NEXT_DAY, -5)), at(NEXT_DAY, 3))
    assert flows(store) == [5]
    forget(store, 1)
    if view:
        store.write(live_key("SIMULATED"), view)
    assert run("withdraw", "7").stdout.startswith("stored as instruction 2; no trader has taken it yet")
    stepped(desk_of(store, feed(), now=at(NEXT_DAY, 4)), at(NEXT_DAY, 6))
    assert flows(store, NEXT_DAY) == [-7]


@pytest.mark.usefixtures("impatient", "store")
def test_what_was_taken_under_its_number_but_is_not_it_is_no_answer(followed) -> None:  # type: ignore[no-untyped-def]
    def another(store: LocalStore, number: int) -> None:
        forget(store, number)
        assert give(store, "SIMULATED", Kind.WITHDRAW, Decimal(7), "", 1).number == number
        traded_a_little(store)

    followed(another)
    for command in (("deposit", "7"), ("withdraw", "8"), ("resume",)):
        answer = run(*command)
        assert (answer.exit_code, answer.stdout) == (REFUSED, "")
        assert "another instruction was taken as number" in answer.stderr


# --- the resident trader ---


class Counting(WatchedStore):
    """Counts how often the trader looks."""

    looks = 0

    def read(self, key: str, *, tail: int | None = None):  # type: ignore[no-untyped-def]
        self.looks += "/instructions/" in key
        return super().read(key, tail=tail)


def stepped(desk: ArbitrageDesk, until: datetime, meanwhile: Callable[[datetime], None] = lambda _now: None) -> None:
    """A trader on the desk's own clock until then."""
    assert isinstance(desk.clock, ManualClock)
    trader = Trader(desk)
    while desk.clock.now() < until:
        if trader.step():
            desk.clock.sleep(0.25)
            meanwhile(desk.clock.now())
    trader.step()
    trader.close()


def test_it_looks_once_a_second_and_not_while_it_catches_up() -> None:
    inner = MemoryStore()
    give(inner, "SIMULATED", Kind.DEPOSIT, Decimal(7), "", 1)
    counting = Counting(inner)
    desk = desk_of(counting, feed(), now=EVENING)
    trader = Trader(desk)
    while not trader.step():
        assert counting.looks == 0
    assert counting.looks == 2, "the one that is there, and that there is no other"
    for _ in range(40):
        desk.clock.sleep(0.25)
        trader.step()
    trader.close()
    assert counting.looks == 2 + 10
    (event,) = taken(inner)
    assert event.time_ns == start_of(DAY) + (86_400 - 65) * NANOSECONDS, "at the present"


def test_every_kind_over_an_evening_and_midnight_comes_out_again() -> None:
    """Given at random seconds, halts among them, the trader begun anew now and then, and once over midnight."""
    store, plan = MemoryStore(), {
        60: (Kind.DEPOSIT, 5000), 51: (Kind.RESUME, None), 44: (Kind.WITHDRAW, 10**9), 30: (Kind.WITHDRAW, 3000),
        12: (Kind.DEPOSIT, 1), 0: (Kind.DEPOSIT, 2), -3: (Kind.WITHDRAW, 4),
    }  # fmt: skip

    def meanwhile(now: datetime) -> None:
        left = (at(NEXT_DAY) - now).total_seconds()
        if left in plan:
            kind, amount = plan[left]  # type: ignore[index]
            give(store, "SIMULATED", kind, None if amount is None else Decimal(amount), "", 1)

    for until in (-52.5, -40, -29.75, -12, -11.75, 6):
        begins = max(EVENING, at(NEXT_DAY, until) - timedelta(seconds=18))
        desk = desk_of(store, feed(), now=begins if until > -52 else EVENING)
        stepped(desk, at(NEXT_DAY, until), meanwhile)
    numbers = [event.instruction for day in (DAY, NEXT_DAY) for event in taken(store, day)]  # type: ignore[union-attr]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == len(list(given_after(store, "SIMULATED", 0))) >= 7
    stored = trading_day.StoredDay(desk_of(store, feed()), DAY)
    assert trading_day.log_replays(stored) == []
    for day in (DAY, NEXT_DAY):
        events = list(stored_events(store, "SIMULATED", day))
        for judge in PROPERTIES:
            assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]


def test_resumed_by_a_person_it_trades_on_the_same_day() -> None:
    store = MemoryStore()
    desk = desk_of(store, feed(), now=EVENING)
    trader = Trader(desk)
    while not trader.step():
        continue
    session = trader._session
    assert session is not None
    session.engine._emit(Halted(session.portfolio.seq + 1, session.cursor_ns, "a drill"))
    give(store, "SIMULATED", Kind.RESUME, None, "seen to", 1)
    for _ in range(8):
        desk.clock.sleep(0.25)
        trader.step()
    trader.close()
    (event,) = taken(store)
    assert isinstance(event, EntriesResumed)
    view, _ = live_from_document(load_document(store.read(live_key("SIMULATED")).data))
    assert (view.halted, view.taken) == ("", 1)


@needs_redis
def test_taken_while_redis_is_away_it_is_told_of_when_it_is_back(tmp_path: Path) -> None:
    """The store is the truth: an instruction waits for no bus, and the keys follow once there is one."""
    store = MemoryStore()
    with redis_server(tmp_path / "redis") as server:
        desk = desk_of(store, feed(), now=EVENING, REDIS_URL=server.url)
        client = server.client()

        def published() -> Decimal | None:
            data = client.get("strategy:portfolio:state")
            return None if data is None else Decimal(load_document(data)["net_flows"])

        def meanwhile(now: datetime) -> None:
            left = (at(NEXT_DAY) - now).total_seconds()
            if left == 60:
                server.kill()
                give(store, "SIMULATED", Kind.DEPOSIT, Decimal(500), "", 1)
            if left == 50:
                assert flows(store) == [500]
                server.start()
            if left == 40:
                for _ in range(3_000):
                    with suppress(redis.RedisError):
                        if published() == 500:
                            looked.append(left)
                            return
                    time.sleep(0.02)

        looked: list[float] = []
        stepped(desk, at(NEXT_DAY, -38), meanwhile)
    assert looked
