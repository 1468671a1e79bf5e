"""The daily cycle of brief 0: signal, pre-execution, sized orders, fills, baseline, minute values."""
