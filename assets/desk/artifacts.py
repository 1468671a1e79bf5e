"""The contract objects of brief 0 and the audit set of each rebalance: where they lie and how they are written.

An audit document is created once and never changes; a step that finds its document present uses it as it is,
which is what makes every step safe to run again after a kill.
"""

from collections.abc import Callable

from resources.documents import Document, dump_document, load_document, sha256_hex
from resources.store import AlreadyExists, NotFound, Store

INBOX = "inbox/"
PORTFOLIO_VALUE_LOG = "portfolio_value_log.jsonl"
LATEST_PRICES = "latest_prices.json"
PRE_EXECUTION = "pre_execution.json"
DAILY_BASELINE = "daily_baseline.json"
LATEST_EXECUTED = "latest_executed.json"
LATEST_REFUSED = "latest_refused.json"
EXECUTION = "execution.json"
REBALANCES = "rebalances/"
MARKS_HISTORY = "history/marks/"
VALUE_HISTORY = "history/portfolio_value/"
FORCED = "forced/"


def audit_key(rebalance_id: str, name: str) -> str:
    """Key of one document of a rebalance's immutable audit set, such as ``fills.json``."""
    return f"{REBALANCES}{rebalance_id}/{name}"


def filters_key(sha256: str) -> str:
    return f"filters/{sha256}.json"


def detection_key(csv_sha256: str, generation: int) -> str:
    """Where the freeze of one signal content lies; a later generation is a fresh t0 after an expired one."""
    return f"detections/{csv_sha256}.json" if generation == 1 else f"detections/{csv_sha256}.{generation}.json"


def forced_key(csv_sha256: str) -> str:
    """Present when a person asked for this content to execute although its date is older than the last."""
    return f"{FORCED}{csv_sha256}.json"


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
