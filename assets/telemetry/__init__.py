"""Telemetry of brief 4: performance trackers, metric ticks, service levels, backtest reports."""
