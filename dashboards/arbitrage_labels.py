"""Every label of the arbitrage page. The three panels of brief 3 carry its words in its order; what is ours stands
beside them. They are never reworded, abbreviated or reordered."""

# Brief 3, "Display Layout": panels, the summary's figures, the columns of the active trades, the parts of an exit.
PORTFOLIO_SUMMARY = "Portfolio Summary"
ACTIVE_TRADES = "Active Trades ({} total)"
RECENT_EXITS = "Recent Exits"

CAPITAL = "Capital"
AVAILABLE = "Available"
UTILIZATION = "Utilization"
TRADES = "Trades"
WIN_RATE = "Win Rate"
CUMULATIVE_PNL = "Cumulative P&L"
REALISTIC_APR = "Realistic APR"
LEG_OUT_EVENTS = "Leg-Out Events"

TICKER = "Ticker"
ENTRY_SPREAD = "Entry Spread"
CURRENT_SPREAD = "Current Spread"
UNREALIZED_PNL = "Unrealized P&L"
STATUS = "Status"
PROFIT = "Profit"
REASON = "Reason"

SUMMARY = (
    CAPITAL,
    AVAILABLE,
    UTILIZATION,
    TRADES,
    WIN_RATE,
    CUMULATIVE_PNL,
    REALISTIC_APR,
    LEG_OUT_EVENTS,
)
ACTIVE = (TICKER, ENTRY_SPREAD, CURRENT_SPREAD, UNREALIZED_PNL)
EXITS = (TICKER, STATUS, PROFIT, REASON)

# Ours.
OPPORTUNITIES = "Opportunities"
REMOVED = "Recently removed"
LEG_OUTS = "Leg-Outs"
CAPITAL_OVER_THE_DAY = "Capital over the Day"
LONG = "Long"
SHORT = "Short"
SIZE = "Size"
AGE = "Age"
SPREAD = "Spread"
NET = "Net"
FUNDING = "Funding Δ"
CONFIDENCE = "Confidence"
NOT_TRADED = "Not traded"
CLOSED_AT = "At"
PHASE = "Phase"
FILLED_LEG = "Filled leg"
HEDGE_PRICE = "Hedge price"
COST = "Cost"
FILLED_AT = "At"
EQUITY = "Equity"
OPEN = "Open"
UNDER_WAY = "under way"

BPS = "bps"

# What the engine's words mean, where it says why something is not traded, was removed or was closed.
WHY_NOT_TRADED = {
    "quote_differs": "the two contracts are quoted in different currencies",
    "inverse_contract": "inverse contracts are watched, never traded",
    "no_short": "spot cannot be sold short",
    "no_funding": "a funding rate is not known",
    "no_edge": "the spread does not cover fees, funding and leaving",
    "low_confidence": "the score is below the least that is traded",
}
WHY_REMOVED = {
    "spread_gone": "the spread no longer covers its costs",
    "funding_gone": "its funding no longer covers its costs",
    "stale": "the older of its two quotes became too old",
    "interrupted": "a venue's stream was interrupted",
    "crossed_book": "a venue's bid stood at or above its ask",
    "zero_price": "a venue quoted a price of zero",
    "empty_book": "a venue showed an empty side",
}
WHY_CLOSED = {
    "leg_out": "one leg filled and the other did not in time",
    "loss_limit": "the loss since entry reached 30 % of the projected profit",
    "profit_target": "the unrealized P&L reached 90 % of the projected profit",
    "funding_convergence": "the funding difference fell below 0.005 %",
}
