"""Dual-leg paper trading of brief 3: opportunities, entry, hedge, exit and the pool of capital, as an event log."""
