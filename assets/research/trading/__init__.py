"""Optimal trading with price impact (arXiv 2507.17162) and the risk rails."""
