"""Research: from hourly bars to the daily exposure decision of brief 1."""
