"""Where research keeps its objects, and how values become stored bytes and come back.

Everything lies under ``research/<source>/<symbol>/``, so that numbers of different sources never meet. Tables and
models are stored under their content's sha256 or together with it, so that a decision can be made again from the store
alone and a changed byte is found.
"""

import contextlib
import io
from collections.abc import Callable, Hashable
from datetime import date
from functools import cache
from typing import Any, TypeVar, cast

import pandas as pd
import simplejson
from pydantic import TypeAdapter

from assets.research.bad_input import BadInput
from resources.documents import Document, dump_document, sha256_hex
from resources.store import AlreadyExists, NotFound, Store, VersionConflict
from resources.store.once import create_bytes_once

Value = TypeVar("Value")


class TamperedObject(Exception):
    """Stored bytes are not those that were stored: their sha256 differs from the one written down."""


def root(source: str, symbol: str) -> str:
    return f"research/{source.lower()}/{symbol}/"


def source_key(source: str, symbol: str, day: date, table: str) -> str:
    """What a source table was at 00:00 of ``day``: rows, findings, and the sha256 of the table."""
    return f"{root(source, symbol)}sources/{day}/{table}.json"


def table_key(source: str, symbol: str, sha256: str) -> str:
    return f"{root(source, symbol)}tables/{sha256}.parquet"


def step_key(source: str, symbol: str, day: date, step: str) -> str:
    """One step of the decision of ``day``."""
    return f"{decisions_prefix(source, symbol)}{day}/{step}.json"


def configuration_key(source: str, symbol: str, fingerprint: str) -> str:
    """The configuration that bears this fingerprint, as whoever decided under it had it."""
    return f"{root(source, symbol)}configurations/{fingerprint}.json"


def decisions_prefix(source: str, symbol: str) -> str:
    return f"{root(source, symbol)}decisions/"


def model_key(source: str, symbol: str, fold: str, configuration: str, name: str) -> str:
    return f"{root(source, symbol)}models/{fold}-{configuration}/{name}"


def exit_rule_key(source: str, symbol: str, day: date, models: str, name: str) -> str:
    """``models`` names the configuration and the models that the rule was trained for."""
    return f"{root(source, symbol)}exit_rules/{day}/{models}/{name}"


def latest_key(source: str, symbol: str) -> str:
    """The newest decision with everything the screen shows of it; overwritten."""
    return f"{root(source, symbol)}latest.json"


def fold_key(source: str, symbol: str, configuration: str, fold: str, name: str) -> str:
    return f"{root(source, symbol)}walk_forward/{configuration}/{fold}/{name}"


def summary_key(source: str, symbol: str) -> str:
    """The newest walk-forward as a whole: every fold's verdict and the performance across them; overwritten."""
    return f"{root(source, symbol)}walk_forward/summary.json"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_value(value: Any) -> Any:
    """A (nested) dataclass as what JSON can hold; floats keep every digit."""
    return _adapter(cast(Hashable, type(value))).dump_python(value, mode="json")


def load_value(kind: type[Value], document: Any) -> Value:
    """The value that ``dump_value`` gave ``document``. Raises pydantic's ValidationError (a ValueError)."""
    value: Value = _adapter(cast(Hashable, kind)).validate_python(document)
    return value


def read_document(store: Store, key: str) -> Document:
    """A research document: unlike the desk's exact ones, its numbers are float64. Raises NotFound."""
    value = simplejson.loads(store.read(key).data)
    if not isinstance(value, dict):
        raise ValueError(f"{key}: expected a JSON object, got {type(value).__name__}")
    return value


def find_document(store: Store, key: str) -> Document | None:
    """``read_document``, or None where there is none."""
    try:
        return read_document(store, key)
    except NotFound:
        return None


def store_table(store: Store, source: str, symbol: str, table: pd.DataFrame) -> str:
    """Store ``table`` under its content's sha256, which is returned."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    sha256 = sha256_hex(content.getvalue())
    create_bytes_once(store, table_key(source, symbol, sha256), content.getvalue())
    return sha256


def load_table(store: Store, source: str, symbol: str, sha256: str) -> pd.DataFrame:
    """The table stored under ``sha256``. Raises TamperedObject when its bytes have changed."""
    data = verified(store, table_key(source, symbol, sha256), sha256)
    try:
        return pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise BadInput(f"no table ({error})", column=table_key(source, symbol, sha256)) from None


def verified(store: Store, key: str, sha256: str) -> bytes:
    """The object's bytes, if they are those with this sha256; else TamperedObject."""
    data = store.read(key).data
    if (found := sha256_hex(data)) != sha256:
        raise TamperedObject(f"{key} has sha256 {found[:12]}…, {sha256[:12]}… was written")
    return data


def published(store: Store, key: str, build: Callable[[Document | None], Document | None]) -> Document:
    """Write what ``build`` makes of the stored document (None: there is none) over exactly that one, and return it;
    whoever lost a race builds again. ``build`` returning None leaves the stored one, which is returned."""
    while True:
        try:
            blob = store.read(key)
            before: Document | None = simplejson.loads(blob.data)
        except NotFound:
            blob, before = None, None
        document = build(before)
        if document is None:
            if before is None:
                raise NotFound(key)
            return before
        try:
            if blob is None:
                store.create(key, dump_document(document))
            else:
                store.replace(key, dump_document(document), blob.version)
        except (AlreadyExists, VersionConflict, NotFound):
            continue
        return document


def written_once(store: Store, key: str, document: Document) -> Document:
    """Create the document; a racer's, written first, wins. Read back, so that every reader sees the same values."""
    with contextlib.suppress(AlreadyExists):
        store.create(key, dump_document(document))
    return read_document(store, key)
