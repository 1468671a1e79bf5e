"""The labels brief 0 fixes. They are never reworded, abbreviated or reordered."""

PORTFOLIO_VALUE = "Portfolio Value"
DAILY_PNL = "Daily P&L"
TOTAL_PNL = "Total P&L Since Inception"

IMMUTABLE = (PORTFOLIO_VALUE, DAILY_PNL, TOTAL_PNL)
