"""What recomputing stored things raises, and where a document is not what was made anew, become sentences."""

from decimal import Decimal

import pytest

from resources.documents import Document
from resources.store import NotFound, StoreUnavailable
from resources.store.differences import Difference, recomputing, unlike


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (NotFound("ledger/a.json holds no object"), "cannot be recomputed: ledger/a.json holds no object"),
        (KeyError("seq"), "cannot be recomputed: KeyError: 'seq'"),
        (RecursionError("too deep"), "cannot be recomputed: RecursionError: too deep"),
    ],
    ids=["missing", "damaged", "nested"],
)
def test_what_stored_bytes_cause_is_a_difference_and_the_work_goes_on(raised: Exception, said: str) -> None:
    found = [Difference("earlier", "differs")]
    with recomputing("key", found):
        raise raised
    with recomputing("other", found):
        pass
    assert found == [("earlier", "differs"), ("key", said)]


@pytest.mark.parametrize("raised", [StoreUnavailable("no answer"), KeyboardInterrupt()], ids=["store", "person"])
def test_what_the_store_cannot_do_ends_it(raised: BaseException) -> None:
    found: list[Difference] = []
    with pytest.raises(type(raised)), recomputing("key", found):
        raise raised
    assert found == []


@pytest.mark.parametrize(
    ("stored", "made", "said"),
    [
        ({"a": 1, "b": [Decimal("1.50")]}, {"b": [Decimal("1.5")], "a": Decimal("1.0")}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b is 1, recomputed 2"]),
        ({"rows": [1, {"x": 2}]}, {"rows": [1, {"x": 3}]}, ["rows[1].x is 2, recomputed 3"]),
        ({"rows": [1]}, {"rows": [1, 2]}, ["rows is [1], recomputed [1, 2]"]),
        ({"a": None}, {"b": 0}, ["a is stored alone", "b is recomputed alone"]),
        ({"a": "x" * 81}, {"a": ""}, [f"a is {'x' * 80}..., recomputed "]),
    ],
    ids=["the same numbers", "inside", "in a list", "of other length", "on one side", "long"],
)
def test_each_value_that_is_another_is_named_with_both(stored: Document, made: Document, said: list[str]) -> None:
    assert unlike(stored, made) == said
