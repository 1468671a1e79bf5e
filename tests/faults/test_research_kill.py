"""Kill the daily decision and a fold's report at every write and run them again: the same objects, byte for byte."""

from contextlib import suppress
from datetime import timedelta

import pytest

from assets.research import validation_runs
from assets.research.archive import step_key
from assets.research.model_store import trained
from assets.research.publication import decide_day
from assets.research.replay import replay
from assets.research.steps import STEPS
from assets.research.walk_forward import run_fold
from tests.faults.dying_store import Killed
from tests.memory_store import MemoryStore
from tests.research_parts import SYMBOL, TODAY, ScriptedHistory, research_on

DAY = timedelta(days=1)
NEVER = 10**9


class DyingWrites(MemoryStore):
    """Shares the objects of ``inner`` until its ``die_at``-th write (from 1), which does not reach them; a dead process
    neither reads nor writes any more."""

    def __init__(self, inner, die_at):
        super().__init__()
        self._objects, self._last_lines = inner._objects, inner._last_lines
        self._die_at, self.writes = die_at, 0

    def write(self, key, data):
        self._count()
        return super().write(key, data)

    def create(self, key, data):
        self._count()
        return super().create(key, data)

    def read(self, key, *, tail=None):
        if self.writes >= self._die_at:
            raise Killed
        return super().read(key, tail=tail)

    def _count(self):
        self.writes += 1
        if self.writes >= self._die_at:
            raise Killed(f"write {self.writes}")


def deaths(start, act, every=1):
    """What ``act`` leaves when it is not killed, and what it leaves after a death at each ``every``-th of its writes,
    run again."""
    whole = start.copy()
    counted = DyingWrites(whole, NEVER)
    act(counted)
    for die_at in range(1, counted.writes + 1, every):
        store = start.copy()
        with suppress(Killed):
            act(DyingWrites(store, die_at))
        act(store)
        yield die_at, whole.contents(), store.contents()


@pytest.fixture(scope="module")
def history():
    return ScriptedHistory()


def difference(expected, found):
    return sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))


def test_a_first_decision_killed_at_a_write_and_made_again_is_the_same(history):
    """From an empty store: sources, training, checkpoints of the exit rule, ten steps, the published document. Every
    other write; the second day below has most of them again."""
    seen = 0
    for die_at, expected, found in deaths(
        MemoryStore(), lambda store: decide_day(research_on(TODAY, store, history), SYMBOL, TODAY), every=2
    ):
        assert difference(expected, found) == [], f"killed at write {die_at}"
        seen = die_at
    assert seen > 25


def test_a_second_day_killed_at_any_write_continues_the_first_days_book(history):
    start = MemoryStore()
    decide_day(research_on(TODAY, start, history), SYMBOL, TODAY)
    for die_at, expected, found in deaths(
        start, lambda store: decide_day(research_on(TODAY + DAY, store, history), SYMBOL, TODAY + DAY)
    ):
        assert difference(expected, found) == [], f"killed at write {die_at}"


def test_another_process_doing_the_whole_day_before_any_write_changes_nothing(history):
    start = MemoryStore()
    trained(research_on(TODAY, start, history), SYMBOL, TODAY)
    whole = start.copy()
    counted = DyingWrites(whole, NEVER)
    decide_day(research_on(TODAY, counted, history), SYMBOL, TODAY)

    class Interrupted(DyingWrites):
        def _count(self):
            self.writes += 1
            if self.writes == self._die_at:
                decide_day(research_on(TODAY, store, history), SYMBOL, TODAY)

        def read(self, key, *, tail=None):
            return MemoryStore.read(self, key, tail=tail)

    for at in range(1, counted.writes + 1, 2):
        store = start.copy()
        decide_day(research_on(TODAY, Interrupted(store, at), history), SYMBOL, TODAY)
        assert difference(whole.contents(), store.contents()) == [], f"interrupted at write {at}"


def test_a_decision_killed_between_its_steps_is_not_continued_by_the_next_day(history):
    """Half a day is no decision: the next one starts from the last whole one, and both replay afterwards."""
    store = MemoryStore()
    decide_day(research_on(TODAY, store, history), SYMBOL, TODAY)
    key = step_key("SIMULATED", SYMBOL, TODAY + DAY, STEPS[5])

    class DyingAt(DyingWrites):
        def create(self, key_, data):
            if key_ == key:
                self._die_at = self.writes
            return super().create(key_, data)

    with pytest.raises(Killed):
        decide_day(research_on(TODAY + DAY, DyingAt(store, NEVER), history), SYMBOL, TODAY + DAY)
    after = TODAY + 2 * DAY
    steps = decide_day(research_on(after, store, history), SYMBOL, after)
    assert steps["data_pull"]["result"]["previous"] == TODAY.isoformat()
    decide_day(research_on(TODAY + DAY, store, history), SYMBOL, TODAY + DAY)
    for day in (TODAY + DAY, after):
        assert [each for each in replay(research_on(day, store, history), SYMBOL, day) if each.differences] == []


def test_a_fold_killed_at_any_write_and_run_again_is_the_same(history, monkeypatch):
    computed = {}

    def remembered(symbol, pieces, configuration, workers):  # noqa: ARG001
        """The pool's results, computed once and here: what is killed are the writes around them."""
        for fold, tables in pieces:
            if fold not in computed:
                computed[fold] = run_fold(symbol, tables, fold, configuration)
            yield computed[fold]

    monkeypatch.setattr(validation_runs, "run_folds", remembered)
    last = TODAY + 29 * DAY

    def act(store):
        research = research_on(last, store, history)
        folds = validation_runs.available_folds(research, SYMBOL, last)[-2:]
        reports = list(validation_runs.run(research, SYMBOL, folds, workers=1))
        assert [report["result"]["fold"]["test_start"] for report in reports] == [fold.name for fold in folds]
        validation_runs.summarise(research, SYMBOL)

    seen = 0
    for die_at, expected, found in deaths(MemoryStore(), act):
        assert difference(expected, found) == [], f"killed at write {die_at}"
        seen = die_at
    assert seen >= 9
