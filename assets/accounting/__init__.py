"""Ground floor: instruments, the event ledger, positions and P&L identities."""
