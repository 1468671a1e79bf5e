"""Path signatures and the signature volatility model (arXiv 2507.23392)."""
