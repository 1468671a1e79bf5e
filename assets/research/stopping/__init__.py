"""Optimal stopping of a position (arXiv 1804.05394) and its regression baseline."""
