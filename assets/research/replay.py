"""Decisions under suspicion: made again from what is stored, features cut off in time, bounds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from assets.research import archive
from assets.research.decision import (
    BiasStep,
    GateStep,
)
from assets.research.pipeline import BUILDERS, Management, as_begun, extraction_of, result_of, value_of
from assets.research.research_desk import Research
from assets.research.sources import load_tables
from assets.research.steps import STEPS
from assets.research.walk_forward import panel_of
from resources.documents import dump_document

# Where the leakage guard cuts: yesterday, a week and a month before.
_LEAKAGE_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step computed again: ``differences`` between what is stored and what came out, path by path; none if equal."""

    step: str
    differences: tuple[str, ...]


def replay(research: Research, symbol: str, day: date) -> list[Replayed]:
    """Every stored step of the decision of ``day`` again, each from the stored results before it and the stored tables
    and models. Raises NotFound where there is no such decision and TamperedObject where a table or model changed."""
    research = as_begun(research, symbol, day)
    replayed = []
    for step in STEPS:
        stored = archive.read_document(research.store, archive.step_key(research.source, symbol, day, step))
        try:
            result, inputs = BUILDERS[step](research, symbol, day)
        except ValueError as error:  # a stored value that no step could have written
            replayed.append(Replayed(step, (f"cannot be computed from what is stored: {error}",)))
            continue
        again = {
            "inputs": inputs,
            "result": result if isinstance(result, dict) else archive.dump_value(result),
        }
        # Through the same bytes as the stored one, so that only a difference of value is one.
        fresh = json.loads(dump_document(again))
        replayed.append(Replayed(step, tuple(_differences({name: stored[name] for name in fresh}, fresh))))
    return replayed


def leaked_features(research: Research, symbol: str, day: date) -> list[str]:
    """Which features of earlier days change when later data are cut away: none, unless something looks ahead.

    The day's tables are cut at a few earlier midnights; the last feature row of each piece must have the bits of the
    same row computed from the whole. Nothing to compare where the day's data were refused.
    """
    pulled, _ = result_of(research, symbol, day, "data_pull")
    if pulled["refusal"]:
        return []
    tables = load_tables(research, symbol, pulled["tables"])
    whole = panel_of(symbol, tables).features
    leaks = []
    for back in _LEAKAGE_DAYS:
        at = day - timedelta(days=back)
        early = panel_of(symbol, tables.known_at(at)).features.iloc[[-1]]
        alike = early.eq(whole.loc[early.index]) | (early.isna() & whole.loc[early.index].isna())
        leaks += [f"{name} of {at}" for name, same in alike.iloc[0].items() if not same]
    return leaks


def bound_violations(research: Research, symbol: str, day: date) -> list[str]:
    """Which bounds the decision of ``day`` breaks: none."""
    research = as_begun(research, symbol, day)
    gate, _ = value_of(research, symbol, day, "regime_gate", GateStep)
    bias, _ = value_of(research, symbol, day, "bias_computation", BiasStep)
    extraction, _ = extraction_of(research, symbol, day)
    management, _ = value_of(research, symbol, day, "position_management", Management)
    held, before = management.settlement.book.exposure, extraction.marked.exposure
    cap = research.configuration.exposure_cap
    broken = []
    if gate.day.probability is not None and not 0 <= gate.day.probability <= 1:
        broken.append(f"probability {gate.day.probability}")
    if bias.value is not None and not -1 <= bias.value <= 1:
        broken.append(f"bias {bias.value}")
    if abs(held) > cap:
        broken.append(f"exposure {held} beyond {cap}")
    # Without a price nothing is traded, which may leave what was held; more of it is what the gate forbids.
    if gate.day.state == "GATE-OFF" and (abs(held) > abs(before) or held * before < 0):
        broken.append(f"exposure went from {before} to {held} while the gate was off")
    return broken


def _differences(stored: Any, fresh: Any, path: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(fresh, dict):
        for name in sorted(stored.keys() | fresh.keys()):
            yield from _differences(stored.get(name), fresh.get(name), f"{path}.{name}" if path else name)
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for index, (one, other) in enumerate(zip(stored, fresh, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif stored != fresh:
        yield f"{path}: stored {stored!r}, computed {fresh!r}"
