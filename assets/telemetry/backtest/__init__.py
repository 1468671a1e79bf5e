"""Backtests through the venue and ledger of paper trading, their stored reports, and the reading of foreign ones."""
