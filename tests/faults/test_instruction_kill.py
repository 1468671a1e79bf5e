"""The resident trader killed by the system around the moment that it takes instructions: none is lost or doubled."""

import random
import signal
import time
from decimal import Decimal
from pathlib import Path

from assets.arbitrage import trading_day
from assets.arbitrage.events import FlowPosted, InstructionRefused
from assets.arbitrage.instructions import TAKEN, Kind, give
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import closing_of, portfolio_before, stored_events
from resources.store.local import LocalStore
from tests.faults.paced_trader import PATIENCE_S, SEED, start_trader
from tests.trading_parts import DAY, NEXT_DAY, ScriptedFeed, desk_of, evenings

KILLS = 4


def test_killed_around_instructions_each_is_one_event_and_the_day_comes_out_again(tmp_path: Path) -> None:
    store, draw = LocalStore(tmp_path / "store"), random.Random(11)
    left, amounts = 100.0, []
    for _ in range(KILLS):
        process = start_trader(tmp_path / "store", left)
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(draw.randint(2, 5)):
            left = float(process.stdout.readline())
            process.stdin.write(b"\n")
        left = float(process.stdout.readline())
        # Two are given while it waits. It takes them with its next step, and dies before, meanwhile or soon afterwards.
        for kind, amount in (
            (Kind.DEPOSIT, Decimal(draw.randint(1, 10**9)).scaleb(-6)),
            (Kind.WITHDRAW, Decimal(10**9)),
        ):
            amounts.append(amount)
            give(store, "SIMULATED", kind, amount, "", 1)
        process.stdin.write(b"\n")
        time.sleep(draw.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()
        assert closing_of(store, "SIMULATED", DAY) is None, "the kill came too late to prove anything"
    process = start_trader(tmp_path / "store", left)
    process.communicate(b"\n" * 500, timeout=PATIENCE_S)
    assert process.returncode == 0

    events = list(stored_events(store, "SIMULATED", DAY))
    taken = [event for event in events if isinstance(event, TAKEN)]
    assert [event.instruction for event in taken] == list(range(1, 2 * KILLS + 1))
    assert [type(event) for event in taken] == [FlowPosted, InstructionRefused] * KILLS
    assert [event.amount for event in taken if isinstance(event, FlowPosted)] == amounts[::2]
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    assert (closing["state"]["taken"], closing["state"]["net_flows"]) == (2 * KILLS, sum(amounts[::2]))
    assert trading_day.log_replays(trading_day.StoredDay(desk_of(store, ScriptedFeed(evenings(SEED))), DAY)) == []
    for judge in PROPERTIES:
        assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]
    following = list(stored_events(store, "SIMULATED", NEXT_DAY))
    assert following[0].carried_day == DAY  # type: ignore[union-attr]
    assert not [event for event in following if isinstance(event, TAKEN)], "the next day takes none of them again"
