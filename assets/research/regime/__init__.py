"""Particle filters and the risk-on gate (arXiv 2508.00696)."""
