"""Names of research's sources and steps, as assets, objects and commands bear them. Nothing heavy is loaded here."""

# Brief 1, input schemas.
SOURCES = ("bars_1h", "daily_close", "funding_24h", "oi_24h", "options_moves", "slippage_log")
# Brief 1, the trading pipeline in its order.
STEPS = (
    "data_pull",
    "feature_extraction",
    "regime_gate",
    "bias_computation",
    "target_sizing",
    "execution_rate",
    "impact_tracking",
    "risk_checks",
    "position_management",
    "weekly_calibration",
)
