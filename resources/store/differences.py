"""What is stored and is not what recomputing it gives, in the words of ``desk verify``, whoever recomputes it.

Nothing that stored bytes cause stops a verification: it is a difference of the object that was recomputed. Only what
the store itself cannot do does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from resources.documents import Document, dump_document, load_document
from resources.store import NotFound, StoreError

_SHOWN = 80  # characters of a value that differs

Progress = Callable[[str, int, int], None]
"""Is told what is under way, how much of it is done, and of how much (0: not known)."""


class Difference(NamedTuple):
    """One stored thing that is not what recomputing it gives; ``what`` is a sentence naming both."""

    key: str
    what: str


@contextmanager
def recomputing(key: str, found: list[Difference]) -> Iterator[None]:
    """Makes whatever recomputing ``key`` raises a difference ``found``; what the store itself cannot do still
    raises."""
    try:
        yield
    except StoreError as error:
        if not isinstance(error, NotFound):
            raise
        found.append(Difference(key, f"cannot be recomputed: {error}"))
    except Exception as error:  # a changed byte can make stored data raise anything at all
        found.append(Difference(key, f"cannot be recomputed: {type(error).__name__}: {error}"))


def unlike(stored: Document, made: Document) -> list[str]:
    """Where a stored document is not what was made anew, a sentence for each value."""
    return list(_unlike("", stored, load_document(dump_document(made))))


def _unlike(name: str, stored: object, made: object) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(made, dict):
        for key in sorted(stored.keys() | made.keys()):
            inner = f"{name}.{key}" if name else key
            if key not in stored or key not in made:
                yield f"{inner} is {'stored' if key in stored else 'recomputed'} alone"
            else:
                yield from _unlike(inner, stored[key], made[key])
    elif isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
        for number, (one, other) in enumerate(zip(stored, made, strict=True)):
            yield from _unlike(f"{name}[{number}]", one, other)
    elif stored != made:
        yield f"{name} is {shortened(stored)}, recomputed {shortened(made)}"


def shortened(value: object) -> str:
    """A stored value as a sentence shows it."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
