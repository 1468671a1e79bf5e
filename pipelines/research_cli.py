"""Research on the command line: ``desk decide``, ``desk train`` and ``desk walk-forward``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from pipelines.terminal import FAILED, REFUSED, Day, console, plain_table, settings_or_exit, speaking_plainly

if TYPE_CHECKING:
    from assets.research.research_desk import Research

_COLUMNS = ("accepted", "traded", "hit rate", "Sharpe", "gate off", "return")
_DAY = Day()
_symbols = click.option("--symbol", "symbols", multiple=True, help="Only this one (may be repeated).")


@contextmanager
def _research(symbols: tuple[str, ...]) -> Iterator[tuple["Research", tuple[str, ...]]]:
    """The research desk of the environment and the symbols asked for; what it refuses is one line and status 3."""
    settings = settings_or_exit()
    if unknown := set(symbols) - set(settings.research_symbols):
        raise click.UsageError(f"{', '.join(sorted(unknown))} not in DESK_RESEARCH_SYMBOLS")
    from assets.research.archive import TamperedObject
    from assets.research.bad_input import BadInput
    from assets.research.research_desk import open_research_desk

    with speaking_plainly():
        try:
            yield open_research_desk(settings).research, symbols or settings.research_symbols
        except (BadInput, TamperedObject) as error:
            click.echo(f"desk: {error}", err=True)
            sys.exit(REFUSED)


def _today(research: "Research") -> date:
    return research.clock.now().date()


@click.command()
@click.option("--date", "day", type=_DAY, help="Decision day (default: today, UTC).")
@_symbols
def decide(day: Any, symbols: tuple[str, ...]) -> None:
    """Make the exposure decision of a day, or replay the stored one and explain it.

    A stored decision is computed again, step by step, from its stored tables, models and inputs; status 1 if anything
    differs. One that is not stored yet is made as the 00:00 run would have made it, and stored.
    """
    differing = False
    with _research(symbols) as (research, chosen):
        from assets.research.archive import find_document, step_key
        from assets.research.publication import decide_day
        from assets.research.replay import replay
        from assets.research.steps import STEPS

        on = day.date() if day else _today(research)
        for symbol in chosen:
            stored = find_document(research.store, step_key(research.source, symbol, on, STEPS[-1])) is not None
            steps = decide_day(research, symbol, on)
            _explain(research.source, symbol, on, steps)
            if not stored:
                click.echo(f"{symbol}: decided and stored\n")
                continue
            differences = [
                f"{replayed.step}: {difference}"
                for replayed in replay(research, symbol, on)
                for difference in replayed.differences
            ]
            differing |= bool(differences)
            for difference in differences:
                click.echo(f"{symbol} differs in {difference}", err=True)
            if not differences:
                click.echo(f"{symbol}: replayed, all {len(STEPS)} steps as stored\n")
    sys.exit(FAILED if differing else 0)


def _explain(source: str, symbol: str, day: date, steps: dict[str, dict[str, Any]]) -> None:
    results = {name: document["result"] for name, document in steps.items()}
    pulled, gate, bias = results["data_pull"], results["regime_gate"], results["bias_computation"]
    extraction, rate = results["feature_extraction"], results["execution_rate"]
    managed = results["position_management"]
    settled = managed["settlement"]
    table = plain_table(f"{symbol} {day} ({source})", "")
    for row in (
        ("data", pulled["refusal"] or f"as of {pulled['as_of']}"),
        ("models", pulled["model_version"]),
        ("continues", pulled["previous"] or "nothing, the book starts flat"),
        ("P(RISK-ON)", _said(gate["day"]["probability"], gate["day"]["reason"])),
        ("gate", f"{gate['day']['state']}, {gate['day']['inertia_count']} of {gate['inertia_days']} days"),
        ("bias", f"{_said(bias['value'], bias['reason'])} {bias['stance']}"),
        ("volatility per day", _said(extraction["volatility"]["forecast"], extraction["volatility"]["reason"])),
        ("target exposure", f"{results['target_sizing']['target']:+.4f}"),
        ("speed per day", f"{rate['speed']:.4f}, planned {rate['planned']:+.4f}"),
        ("impact", f"{results['impact_tracking']['now_bp']:.2f} bp"),
        ("risk", f"{results['risk_checks']['state']}: {results['risk_checks']['reason']}"),
        ("position", f"{managed['exit']['decision']}, day {managed['exit']['day']} of {managed['exit']['days_max']}"),
        ("exposure from now on", f"{settled['book']['exposure']:+.4f}: {settled['reason']}"),
        ("lambda", results["weekly_calibration"]["result"]["reason"]),
    ):
        table.add_row(*row)
    console.print(table)


def _said(value: float | None, reason: str) -> str:
    return f"none ({reason})" if value is None else f"{value:.4f}"


@click.command()
@click.option("--date", "day", type=_DAY, help="A day the models are for (default: today, UTC).")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@_symbols
def train(day: Any, device: Any, symbols: tuple[str, ...]) -> None:
    """Train the models and the exit rule in force on a day, where the store has none.

    Models are written once a fold: what is there already is shown, never replaced. The same code runs on a GPU where
    JAX finds one (README, Training on a GPU).
    """
    with _research(symbols) as (research, chosen):
        from assets.research.model_store import model_version, trained, trained_exit_rule
        from assets.research.stopping.deep import NoSuchDevice
        from assets.research.training.direction import DeviceAbsent

        on = day.date() if day else _today(research)
        for symbol in chosen:
            try:
                models, manifest = trained(research, symbol, on, device)
                trained_exit_rule(research, symbol, on, device)
            except (DeviceAbsent, NoSuchDevice) as error:
                click.echo(f"desk: {error}", err=True)
                sys.exit(REFUSED)
            report = models.direction.report
            table = plain_table(f"{symbol} {models.fold.train_start} to {models.fold.train_end}", "")
            table.add_row("version", f"{model_version(manifest)}, trained {manifest['trained_utc']} on {report.device}")
            table.add_row("direction", report.verdict)
            table.add_row("loss", f"{report.loss}, asymmetry {report.asymmetry:.2f} for noise {report.noise_rate:.2f}")
            candidates = ", ".join(f"{name} {values['loss']:.4f}" for name, values in report.candidates.items())
            table.add_row("validation loss", f"{candidates}; {report.chosen} chosen")
            console.print(table)


@click.command("walk-forward")
@click.option("--until", type=_DAY, help="Last day of the history looked at (default: today, UTC).")
@click.option("--workers", type=click.IntRange(min=1), help="Processes (default: DESK_WALK_FORWARD_WORKERS).")
@_symbols
def walk_forward(until: Any, workers: int | None, symbols: tuple[str, ...]) -> None:
    """Validate by rolling folds: 365 days of training, 7 left out, 30 decided and judged, costs included.

    Folds with a stored report are not computed again. Status 1 unless every fold is accepted.
    """
    accepted = True
    with _research(symbols) as (research, chosen):
        from assets.research.validation_runs import available_folds, run, summarise

        last = until.date() if until else _today(research)
        for symbol in chosen:
            planned = available_folds(research, symbol, last)
            if not planned:
                click.echo(f"{symbol}: no whole fold in {research.settings.research_history_days} days before {last}")
                accepted = False
                continue
            table = plain_table(
                f"{symbol} ({research.source})", "accepted", "traded", "hit rate", "Sharpe", "gate off", "return"
            )
            for fold, report in zip(
                planned, run(research, symbol, planned, workers or research.settings.walk_forward_workers), strict=True
            ):
                if "refused" in report:
                    accepted = False
                    table.add_row(fold.name, report["refused"]["reason"])
                    continue
                result = report["result"]
                accepted &= result["accepted"]
                table.add_row(fold.name, "yes" if result["accepted"] else "no", *_measures(result["performance"]))
            summary = summarise(research, symbol)
            table.add_row("overall", f"{summary['accepted_folds']} of {len(planned)}", *_measures(summary["overall"]))
            console.print(table)
    sys.exit(0 if accepted else FAILED)


def _measures(performance: dict[str, Any]) -> tuple[str, ...]:
    def ratio(name: str, form: str) -> str:
        return "undefined" if performance[name] is None else format(performance[name], form)

    return (
        f"{performance['traded_days']} of {performance['days']}",
        ratio("hit_rate", ".1%"),
        ratio("sharpe", ".2f"),
        ratio("gate_off", ".0%"),
        ratio("total_return", "+.2%"),
    )
