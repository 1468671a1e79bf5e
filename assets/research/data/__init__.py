"""Data contracts of brief 1 and the features known at the decision time."""
