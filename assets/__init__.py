"""WHAT the desk produces: one folder a capability, pure modules first, Dagster faces beside them."""
