"""Documents that are written once: found, or built and created, and the same for every racer.

A step that finds its document present uses it as it is, which is what makes every step safe to run again after a kill.
"""

from collections.abc import Callable

from resources.documents import Document, dump_document, load_document, sha256_hex
from resources.store import AlreadyExists, NotFound, Store


def find(store: Store, key: str) -> Document | None:
    """The document at ``key``, or None when there is none."""
    try:
        return load_document(store.read(key).data)
    except NotFound:
        return None


def sha256_of(store: Store, key: str) -> str:
    """The sha256 of the stored bytes, as named in the ``inputs`` of later artifacts."""
    return sha256_hex(store.read(key).data)


def create_once(store: Store, key: str, build: Callable[[], Document]) -> Document:
    """The document at ``key``, built and created when absent; the stored one wins over a racing builder's."""
    found = find(store, key)
    if found is not None:
        return found
    data = dump_document(build())
    try:
        store.create(key, data)
    except AlreadyExists:
        data = store.read(key).data
    return load_document(data)


def create_bytes_once(store: Store, key: str, data: bytes) -> None:
    """Create an object whose key names its content, so that finding it present is success."""
    try:
        store.create(key, data)
    except AlreadyExists:
        return
