"""Noise-robust losses, learning-rate recipe and weight averaging (arXiv 2507.17692, 2507.17748, 2508.00180)."""
