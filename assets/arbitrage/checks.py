"""Asset checks of a trading day: the brief's correctness properties over its stored log, and that it comes out again.

They speak and do not block: the log they judge is history. Each judge is a pure function of ``properties``.
"""

from collections.abc import Sequence

import dagster as dg

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.assets import arbitrage_portfolio, failing_plainly, opportunities, paper_trades, stored_day

# Judges of ``assets.arbitrage.properties`` by the asset that they stand on; named here so that loading is light.
_JUDGES = {
    "capital_conserved": (
        arbitrage_portfolio,
        "Property 1: available + open = starting + flows + realised, exactly, and the closing is what the log leaves.",
    ),
    "no_naked_leg": (
        paper_trades,
        "Property 2: legs are unequal for 500 ms at most, but for what the trader halted over.",
    ),
    "naked_legs_alarmed": (paper_trades, "No leg was naked for more than 500 ms while the trader had halted over it."),
    "queue_fills_accurate": (paper_trades, "Property 3: a resting order fills once the threshold has traded."),
    "slippage_realistic": (paper_trades, "Property 4: market fills pay 2 to 5 bps, and what the book asks for."),
    "pnl_accurate": (arbitrage_portfolio, "Property 5: cumulative P&L is the sum of trades, leg-outs counted once."),
    "exits_have_reasons": (paper_trades, "Property 6: the named conditions hold, and the first of them acts."),
    "leg_outs_logged": (paper_trades, "Property 7: each leg-out is logged once, before its hedge, and counted once."),
    "ledger_agrees": (arbitrage_portfolio, "The desk's ledger comes to the same cash and positions."),
}
_WITH_CLOSING = "capital_conserved"  # what the next day begins with is the capital of this one
_WARNING = frozenset({"naked_legs_alarmed"})  # no property of the brief: people were told when it happened
_SHOWN = 10


def _result(
    violations: Sequence[str],
    looked_at: dict[str, int],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not violations,
        severity=severity,
        description="; ".join(violations[:_SHOWN]) or None,
        metadata={**looked_at, "violations": len(violations)},
    )


def _property_check(name: str) -> dg.AssetChecksDefinition:
    asset, text = _JUDGES[name]

    @dg.asset_check(asset=asset, name=name, description=text)
    def check(
        context: dg.AssetCheckExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
    ) -> dg.AssetCheckResult:
        from assets.arbitrage import properties, trading_day
        from assets.arbitrage.portfolio import LogError

        day = stored_day(arbitrage, context.partition_key)
        with failing_plainly():
            before = day.before()
        try:
            violations = getattr(properties, name)(day.events, before)
            if name == _WITH_CLOSING:
                violations += trading_day.closing_follows(day)
        except LogError as error:  # what cannot have happened keeps no property
            violations = [str(error)]
        severity = dg.AssetCheckSeverity.WARN if name in _WARNING else dg.AssetCheckSeverity.ERROR
        return _result(violations, {"events": len(day.events)}, severity)

    return check


@dg.asset_check(
    asset=paper_trades,
    name="log_replays",
    description="The feed gives the log again, byte for byte. A live feed cannot be asked: a warning says so.",
)
def log_replays(
    context: dg.AssetCheckExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.AssetCheckResult:
    """Computes the whole day anew; with it Property 6: what should have been left was left."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    try:
        differences = trading_day.log_replays(day)
    except trading_day.NotOver as error:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=str(error))
    return _result(differences, {"events": len(day.events)})


@dg.asset_check(
    asset=opportunities,
    name="signals_were_opportunities",
    description="Every entry of the day began while its opportunity stood.",
)
def signals_were_opportunities(
    context: dg.AssetCheckExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.AssetCheckResult:
    """Compares the log's proposals with what the scanner finds when nothing is traded."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    with failing_plainly():
        unexplained = trading_day.unexplained_signals(day)
    return _result(unexplained, {"events": len(day.events)})


@dg.asset_check(
    asset=arbitrage_portfolio,
    name="next_day_goes_on",
    description="The next stored day goes on from this one's closing: a day that is traded after a later one was begun "
    "leaves its capital to nobody, which a warning says.",
)
def next_day_goes_on(
    context: dg.AssetCheckExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.AssetCheckResult:
    """Both days are right by themselves; their capitals do not add up."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    return _result(trading_day.passed_over(day), {"events": len(day.events)}, dg.AssetCheckSeverity.WARN)


arbitrage_checks: Sequence[dg.AssetChecksDefinition] = [
    *(_property_check(name) for name in _JUDGES),
    log_replays,
    signals_were_opportunities,
    next_day_goes_on,
]
