"""The simulated clock: what runs when, and what goes first at equal times."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from assets.arbitrage.timers import Rank, Timers

_DUE = st.tuples(st.integers(0, 20), st.sampled_from(Rank))


class Diary:
    """Writes down what ran, and at which time it was told it was."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def note(self, name: str) -> Callable[[int], None]:
        return lambda time_ns: self.lines.append((time_ns, name))


def test_equal_times_go_by_rank_then_by_the_order_of_scheduling() -> None:
    timers, diary = Timers(), Diary()
    for name, rank in (
        ("tick", Rank.TICK),
        ("deadline", Rank.TIMER),
        ("cancel", Rank.CANCEL),
        ("arrival", Rank.ARRIVAL),
    ):
        timers.at(5, rank, diary.note(f"first {name}"))
        timers.at(5, rank, diary.note(f"second {name}"))
    timers.run_through(5)
    assert [name for _, name in diary.lines] == [
        f"{which} {name}" for name in ("arrival", "cancel", "deadline", "tick") for which in ("first", "second")
    ]


def test_before_a_market_event_only_what_is_due_strictly_earlier_runs() -> None:
    timers, diary = Timers(), Diary()
    timers.at(9, Rank.TIMER, diary.note("before"))
    timers.at(10, Rank.ARRIVAL, diary.note("with"))
    timers.run_before(10)
    assert diary.lines == [(9, "before")]
    assert timers.next_ns == 10
    timers.run_through(10)
    assert diary.lines == [(9, "before"), (10, "with")]
    assert timers.next_ns is None


def test_an_action_can_schedule_more_at_the_present_time() -> None:
    timers, diary = Timers(), Diary()

    def chain(time_ns: int) -> None:
        diary.lines.append((time_ns, "chain"))
        timers.at(time_ns, Rank.ARRIVAL, diary.note("same instant, lower rank"))
        timers.at(time_ns + 1, Rank.ARRIVAL, diary.note("later"))

    timers.at(3, Rank.TIMER, chain)
    timers.at(3, Rank.TIMER, diary.note("next of that instant"))
    timers.run_through(3)
    assert diary.lines == [(3, "chain"), (3, "same instant, lower rank"), (3, "next of that instant")]


def test_a_cancelled_timer_never_runs_and_is_not_what_comes_next() -> None:
    timers, diary = Timers(), Diary()
    doomed = timers.at(1, Rank.TIMER, diary.note("doomed"))
    kept = timers.at(2, Rank.TIMER, diary.note("kept"))
    timers.cancel(doomed)
    timers.cancel(doomed)
    assert timers.next_ns == 2
    timers.run_through(2)
    timers.cancel(kept)
    assert diary.lines == [(2, "kept")]
    assert not doomed.pending
    assert not kept.pending


def test_an_action_can_cancel_another_of_the_same_instant() -> None:
    timers, diary = Timers(), Diary()
    later = timers.at(4, Rank.TICK, diary.note("tick"))
    timers.at(4, Rank.TIMER, lambda _: timers.cancel(later))
    timers.run_through(4)
    assert diary.lines == []


def test_a_time_that_has_passed_is_due_now_and_time_never_goes_back() -> None:
    timers, diary = Timers(), Diary()
    timers.run_through(100)
    timers.at(40, Rank.TIMER, diary.note("late"))
    assert timers.next_ns == 100
    timers.run_through(90)
    assert diary.lines == []
    timers.run_through(100)
    assert diary.lines == [(100, "late")]
    assert timers.now_ns == 100


@given(st.lists(_DUE, max_size=30), st.lists(st.integers(0, 22), max_size=6))
def test_whatever_the_steps_everything_runs_once_in_one_order(due: list[tuple[int, Rank]], steps: list[int]) -> None:
    """Stepping through in pieces is running through at once: the order depends on the timers alone."""

    def ran(stops: list[int]) -> list[tuple[int, str]]:
        timers, diary = Timers(), Diary()
        for number, (time_ns, rank) in enumerate(due):
            timers.at(time_ns, rank, diary.note(f"{rank:d} {number:03d}"))
        for position, stop in enumerate(stops):
            (timers.run_before if position % 2 else timers.run_through)(stop)
            assert all(time_ns <= stop for time_ns, _ in diary.lines)
        timers.run_through(100)
        return diary.lines

    whole = ran([])
    assert len(whole) == len(due)
    assert whole == sorted(whole)
    assert ran(sorted(steps)) == whole
