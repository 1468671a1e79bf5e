"""What people ask of the trader is stored once under its own number, and what nobody could follow is named."""

import gc
import threading
from collections.abc import Callable
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from assets.arbitrage.events import EntriesResumed, FlowPosted, InstructionRefused
from assets.arbitrage.instructions import (
    BadInstruction,
    Instruction,
    Kind,
    Unreadable,
    amount_of,
    contradictions,
    give,
    given_after,
    given_again,
    given_at,
)
from resources.documents import dump_document
from resources.store import StoreUnavailable
from resources.store.local import LocalStore
from tests.faults.distant_store import DistantStore, threads_left
from tests.faults.watched_store import T, WatchedStore
from tests.memory_store import MemoryStore
from tests.trading_parts import D

SOURCE = "SIMULATED"
GOOD = {"number": 1, "kind": "deposit", "amount": D("5.5"), "note": "n", "given_ns": 7}


def key(number: int) -> str:
    return f"arbitrage/simulated/instructions/{number:08d}.json"


def numbers(store: MemoryStore, after: int = 0) -> list[int]:
    return [given.number for given in given_after(store, SOURCE, after)]


def test_what_is_given_is_read_as_it_was_in_its_order() -> None:
    store = MemoryStore()
    asked = [
        give(store, SOURCE, Kind.DEPOSIT, D("500.000001"), "more", 5),
        give(store, SOURCE, Kind.WITHDRAW, D("1E+2"), "", 4),
        give(store, SOURCE, Kind.RESUME, None, "seen to", 6),
    ]
    assert asked == [
        Instruction(1, Kind.DEPOSIT, D("500.000001"), "more", 5),
        Instruction(2, Kind.WITHDRAW, D(100), "", 4),
        Instruction(3, Kind.RESUME, None, "seen to", 6),
    ]
    assert list(given_after(store, SOURCE, 0)) == asked
    assert list(given_after(store, SOURCE, 2)) == asked[2:]
    assert list(given_after(store, SOURCE, 3)) == []
    assert [each.asked for each in asked] == ["deposit 500.000001", "withdraw 100", "resume"]
    assert sorted(store.contents()) == [key(number) for number in (1, 2, 3)]
    assert numbers(MemoryStore()) == []


def reads_of(count: int, taken: int) -> list[int]:
    """The numbers read in a store that takes several reads at once, of which ``taken`` instructions were taken."""
    inner = MemoryStore()
    for _ in range(count):
        give(inner, SOURCE, Kind.DEPOSIT, D(5), "", 1)
    store = DistantStore(inner, reads_at_once=4)
    assert [each.number for each in islice(given_after(store, SOURCE, 0), taken)] == list(range(1, taken + 1))
    gc.collect()
    assert threads_left() == []
    assert set(store.reads.values()) == {1}
    return sorted(int(each.rpartition("/")[2].removesuffix(".json")) for each in store.reads)


def test_where_nothing_was_given_one_number_is_read_and_where_one_was_the_next() -> None:
    inner = MemoryStore()
    store = DistantStore(inner, reads_at_once=4)
    assert list(given_after(store, SOURCE, 0)) == []
    assert store.reads == {key(1): 1}
    give(inner, SOURCE, Kind.RESUME, None, "", 1)
    assert [each.number for each in given_after(store, SOURCE, 0)] == [1]
    assert store.reads == {key(1): 2, key(2): 1}


def test_of_many_those_behind_the_first_are_read_ahead_and_no_further_than_that() -> None:
    assert reads_of(count=16, taken=16)[:16] == list(range(1, 17))
    assert max(reads_of(count=30, taken=16)) <= 16 + 3


def test_each_source_has_instructions_of_its_own() -> None:
    store = MemoryStore()
    give(store, "LIVE", Kind.RESUME, None, "", 1)
    assert numbers(store) == []


def test_people_at_once_get_a_number_each_and_none_is_missing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    store, taken = LocalStore(tmp_path), []
    ready = threading.Barrier(8)

    def ask(who: int) -> None:
        ready.wait()
        taken.extend(give(store, SOURCE, Kind.DEPOSIT, D(who * 10 + each + 1), str(who), who) for each in range(5))

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.number for each in taken) == list(range(1, 41))
    stored = list(given_after(store, SOURCE, 0))
    assert stored == sorted(taken, key=lambda each: each.number)
    assert sorted(each.amount for each in stored) == sorted(
        D(who * 10 + each + 1) for who in range(8) for each in range(5)
    )


def test_a_number_that_was_taken_meanwhile_is_left_to_its_owner() -> None:
    class Raced(MemoryStore):
        raced = False

        def create(self, key: str, data: bytes) -> str:
            if not self.raced:
                self.raced = True
                give(self, SOURCE, Kind.RESUME, None, "first", 1)
            return super().create(key, data)

    store = Raced()
    assert give(store, SOURCE, Kind.DEPOSIT, D(5), "second", 2).number == 2
    assert [given.note for given in given_after(store, SOURCE, 0)] == ["first", "second"]  # type: ignore[union-attr]


def test_a_number_that_was_left_out_by_hand_is_given_to_the_next_and_nothing_is_passed_over() -> None:
    store = MemoryStore()
    store.create(key(2), dump_document(GOOD | {"number": 2}))
    assert numbers(store) == []
    assert give(store, SOURCE, Kind.RESUME, None, "", 1).number == 1
    assert numbers(store) == [1, 2]


# --- amounts ---


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5000", "5000"),
        (" 1.5 ", "1.5"),
        ("0.000001", "0.000001"),
        ("1e3", "1000"),
        ("1000000000000", "1e12"),
        ("+7", "7"),
    ],
)
def test_an_amount_is_what_was_written(text: str, amount: str) -> None:
    assert amount_of(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    ["0", "-0", "-5", "0.0", "nan", "-inf", "inf", "Infinity", "sNaN1", "", " ", "five", "1,000", "1_000", "0x10", "5%",
     "0.0000001", "1.0000000", "1e13", "1e999999999", "1e-9", "9" * 5000, "−5", "5 000", "1e", "--", "\ud800", "5\n6"],
)  # fmt: skip
def test_an_amount_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInstruction) as refused:
        amount_of(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@drawn(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        amount = amount_of(text)
    except BadInstruction:
        return
    assert 0 < amount <= 10**12
    assert amount == round(amount, 6)


@pytest.mark.parametrize("note", ["two\nlines", "x" * 201, "\ud800", "tab\t", "\x1b[31m"])
def test_a_note_is_one_printable_line(note: str) -> None:
    store = MemoryStore()
    with pytest.raises(BadInstruction, match="a note is one printable line of at most 200 characters"):
        give(store, SOURCE, Kind.RESUME, None, note, 1)
    assert store.contents() == {}


@pytest.mark.parametrize(("kind", "amount"), [(Kind.DEPOSIT, None), (Kind.WITHDRAW, None), (Kind.RESUME, D(5))])
def test_capital_moves_by_an_amount_and_a_halt_ends_without_one(kind: Kind, amount: Decimal | None) -> None:
    with pytest.raises(BadInstruction, match=f"a {kind.value} (needs an|has no) amount"):
        give(MemoryStore(), SOURCE, kind, amount, "", 1)


def test_a_store_that_is_away_says_so_and_nothing_is_given() -> None:
    class Away(WatchedStore):
        def _do(self, _operation: Callable[[], T]) -> T:
            raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        give(Away(MemoryStore()), SOURCE, Kind.RESUME, None, "", 1)


# --- what is no instruction ---

MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is no JSON object"),
    "no JSON": (b"deposit 500", "it is no JSON object"),
    "no object": (b"[1]", "it is no JSON object"),
    "no text": (b"\xff\xfe{}", "it is no JSON object"),
    "a depth": (b"[" * 100_000, "it is no JSON object"),
    "digits": (b'{"number":' + b"1" * 5_000 + b"}", "it is no JSON object"),
    "a number nobody holds": (b'{"amount":1e99999999999999999999,"number":1}', "it is no JSON object"),
    "a torn end": (dump_document(GOOD)[:-9], "it is no JSON object"),
    "a missing field": (dump_document({k: v for k, v in GOOD.items() if k != "note"}), "Instruction lacks note"),
    "one too many": (dump_document(GOOD | {"by": "x"}), "Instruction has no field ['by']"),
    "another number": (dump_document(GOOD | {"number": 2}), "it says that it is instruction 2"),
    "an unknown kind": (dump_document(GOOD | {"kind": "steal"}), "Instruction.kind: must be one of deposit"),
    "an amount as text": (dump_document(GOOD | {"amount": "5"}), "Instruction.amount: must be a number"),
    "no number": (b'{"amount":NaN,"given_ns":1,"kind":"deposit","note":"","number":1}', "it is no JSON object"),
    "too little": (dump_document(GOOD | {"amount": D("-1")}), "an amount is above 0"),
    "too much": (dump_document(GOOD | {"amount": D("1e13")}), "an amount is above 0 and at most 1,000,000,000,000"),
    "absurdly much": (b'{"amount":1e99999999,"given_ns":1,"kind":"deposit","note":"","number":1}', "an amount is"),
    "too fine": (dump_document(GOOD | {"amount": D("0.0000001")}), "an amount has at most 6 decimals"),
    "too long": (dump_document(GOOD | {"amount": D("1." + "0" * 900)}), "an amount has at most 6 decimals"),
    "a resume of an amount": (dump_document(GOOD | {"kind": "resume"}), "a resume has no amount"),
    "a note of half a character": (
        b'{"amount":5,"given_ns":1,"kind":"deposit","note":"\\ud800","number":1}', "a note is one printable line"
    ),
    "a field of half a character": (b'{"\\ud800":5,"number":1}', "Instruction lacks"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_instruction_is_named_the_same_each_time_and_stops_none_behind_it(name: str) -> None:
    data, reason = MALFORMED[name]
    store = MemoryStore()
    store.create(key(1), data)
    second = give(store, SOURCE, Kind.RESUME, None, "", 1)
    unreadable, following = given_after(store, SOURCE, 0)
    assert isinstance(unreadable, Unreadable)
    assert unreadable.reason.startswith(reason)
    assert len(unreadable.reason) <= 200
    assert unreadable.reason.isprintable()
    assert following == second
    assert given_at(store, SOURCE, 1) == unreadable


@drawn(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f'{{"kind":"{text}","number":1}}'.encode()))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    store = MemoryStore()
    store.create(key(1), data)
    found = given_at(store, SOURCE, 1)
    assert isinstance(found, Unreadable)
    assert found.reason.isprintable()


# --- again, for a log that took them ---

LOG = [
    FlowPosted(4, 100, 1, D("5.50"), "more"),
    FlowPosted(5, 101, 2, D("-1E+2"), ""),
    EntriesResumed(6, 200, 3, "seen to"),
    InstructionRefused(7, 201, 4, "withdraw 600.000001", "why"),
    InstructionRefused(8, 202, 5, "resume", "why"),
    InstructionRefused(9, 203, 6, "", "it is no JSON object"),
]
TOLD = [
    Instruction(1, Kind.DEPOSIT, D("5.50"), "more", 100),
    Instruction(2, Kind.WITHDRAW, D("1E+2"), "", 101),
    Instruction(3, Kind.RESUME, None, "seen to", 200),
    Instruction(4, Kind.WITHDRAW, D("600.000001"), "", 201),
    Instruction(5, Kind.RESUME, None, "", 202),
    Unreadable(6, "it is no JSON object"),
]


def test_a_log_says_what_it_took_and_when() -> None:
    again = list(given_again(LOG))
    assert again == [(event.time_ns, told) for event, told in zip(LOG, TOLD, strict=True)]
    # To the last digit: an event is made of it again, and compared byte for byte.
    assert [str(each.moved) for _, each in again[:2]] == ["5.50", "-1E+2"]  # type: ignore[union-attr]


@pytest.mark.parametrize("asked", ["steal 5", "withdraw", "resume 5", "deposit NaN", "deposit -5", "deposit 5 6", " "])
def test_a_refusal_of_what_nobody_can_ask_is_given_as_unreadable(asked: str) -> None:
    """A log that was tampered with: its day then comes out otherwise, and nothing fails before that."""
    ((_, again),) = given_again([InstructionRefused(9, 200, 1, asked, "why")])
    assert again == Unreadable(1, "why")


def test_what_a_log_took_is_compared_with_what_is_still_stored() -> None:
    store = MemoryStore()
    assert list(contradictions(store, SOURCE, LOG)) == []
    for kind, amount in ((Kind.DEPOSIT, D("5.50")), (Kind.DEPOSIT, D(100)), (Kind.RESUME, None)):
        give(store, SOURCE, kind, amount, "", 1)
    store.create(key(4), b"garbage")
    store.create(key(6), b"other garbage than it was")
    assert list(contradictions(store, SOURCE, LOG)) == [
        "instruction 2 was taken as withdraw 100 and is stored as deposit 100",
        "instruction 4 was taken as withdraw 600.000001 and is stored as what cannot be read",
    ]


# --- numbers that were used ---


def test_a_number_that_was_taken_is_not_given_again_when_its_object_is_gone() -> None:
    store = MemoryStore()
    for each in (1, 2, 3):
        give(store, SOURCE, Kind.DEPOSIT, D(each), "", 1)
    store.delete(key(2))
    store.delete(key(3))
    assert give(store, SOURCE, Kind.RESUME, None, "", 1, taken=2).number == 3, "never taken: it may be filled"
    assert give(store, SOURCE, Kind.RESUME, None, "", 1, taken=3).number == 4
    assert give(store, SOURCE, Kind.RESUME, None, "", 1, taken=9).number == 10
