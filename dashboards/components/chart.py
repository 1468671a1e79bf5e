"""The portfolio-value chart: value above, drawdown below, one canvas, refilled from the full series on every zoom.

The browser never gets more than about a thousand points. Drawdown is drawn in the lower fifth of the same frame,
mapped onto the value axis, so that one crosshair and one time axis serve both; its labels show the true numbers.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.events import DoubleTap, RangesUpdate
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    CustomJSHover,
    DatetimeTicker,
    DatetimeTickFormatter,
    FixedTicker,
    HoverTool,
    Line,
    PanTool,
    Range1d,
    Scatter,
    VArea,
    VStrip,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from dashboards import format as text
from dashboards.series import EMPTY, MINUTE_MS, Series, Values, Window, nice_ticks, window
from dashboards.theme.tokens import FONT, SCREEN

_DAY_MS = 1440 * MINUTE_MS
_BUCKETS = 600  # about one for two screen columns of the widest chart, spare included; each gives two to four points
_SPARE = 0.25  # of the range, loaded on either side so that a drag shows data before it ends
_PAUSE_MS = 40  # without a wheel event before the range counts as chosen (Bokeh's own default is 500)
_LEAST_SPAN_MS = 10 * MINUTE_MS

# Shares of the frame, from the ground: drawdown, a quiet strip, value.
_DRAWDOWN_TOP = 0.195
_VALUE_GROUND = 0.25

# Range buttons in order, with their length in days; None reaches back to where the name says.
RANGES: dict[str, int | None] = {"1D": 1, "1W": 7, "1M": 30, "3M": 91, "6M": 182, "YTD": None, "All": None}
DEFAULT_RANGE = "1M"

_CUSTOM_RANGE = re.compile(r"(\d{12,14})-(\d{12,14})")


def known_range(name: str) -> str:
    """``name`` when it is a range button or ``<start ms>-<end ms>``, else the default range."""
    custom = _CUSTOM_RANGE.fullmatch(name)
    if name in RANGES or (custom and int(custom[1]) < int(custom[2])):
        return name
    return DEFAULT_RANGE


def range_of(name: str, first: int, last: int) -> tuple[float, float]:
    """Start and end (ms) of a known range over data from ``first`` to ``last``; a day is 24 h, the year UTC's."""
    custom = _CUSTOM_RANGE.fullmatch(name)
    if custom:
        return float(custom[1]), float(custom[2])
    days = RANGES[name]
    if days is not None:
        start = last - days * _DAY_MS
    elif name == "YTD":
        start = int(np.datetime64(last, "ms").astype("datetime64[Y]").astype("datetime64[ms]").astype(np.int64))
    else:
        start = first
    start = max(first, start)
    if last - start < _LEAST_SPAN_MS:
        return last - _LEAST_SPAN_MS, last + _LEAST_SPAN_MS
    return float(start), float(last)


class PortfolioChart:
    """One session's chart. ``figure`` is the Bokeh model; ``on_zoom`` is told the new range's name after a gesture."""

    def __init__(self, range_name: str, on_zoom: Callable[[str], None]) -> None:
        self._range_name = range_name
        self._button = range_name if range_name in RANGES else DEFAULT_RANGE
        self._on_zoom = on_zoom
        self._series = EMPTY
        self._depth: Values = EMPTY.value
        self._capital: float | None = None
        self._line = ColumnDataSource({"time": [], "value": [], "deep": [], "depth": []})
        self._gaps = ColumnDataSource({"start": [], "end": []})
        self._last = ColumnDataSource({"time": [], "value": []})
        self._x = Range1d(start=0, end=1)
        self._y = Range1d(start=0, end=1)
        self._ticks = FixedTicker()
        self.figure = self._drawn()

    @property
    def range_name(self) -> str:
        """The range shown: a button's name, or start and end after a gesture."""
        return self._range_name

    def show(self, series: Series, depth: Values, capital: float | None) -> None:
        """Take new data in; a range that ends at the newest row moves along with it."""
        self._series, self._depth, self._capital = series, depth, capital
        self.select(self._range_name)

    def select(self, range_name: str) -> None:
        """Show a known range, as the range buttons do."""
        self._range_name = range_name
        if range_name in RANGES:
            self._button = range_name
        if not len(self._series):
            return
        first, last = int(self._series.time[0]), int(self._series.time[-1])
        start, end = range_of(range_name, first, last)
        # The last dot needs room to its right, or the frame cuts it in half.
        margin = 0.008 * (end - start) if range_name in RANGES else 0.0
        room = max(last - first, _LEAST_SPAN_MS)
        # First the bounds: the browser would clamp the new range to the old ones.
        self._x.bounds = (first - room, last + room)
        self._x.update(start=start, end=end + margin)
        self._fill(start, end + margin)

    def _zoomed(self, event: Any) -> None:
        if event.x0 is None or event.x1 is None or event.x1 <= event.x0 or not len(self._series):
            return
        start, end = float(event.x0), float(event.x1)
        self._range_name = f"{start:.0f}-{end:.0f}"
        self._fill(start, end)
        self._on_zoom(self._range_name)

    def _reset(self, _: Any) -> None:
        self.select(self._button)
        self._on_zoom(self._button)

    def _fill(self, start: float, end: float) -> None:
        spare = _SPARE * (end - start)
        seen = window(self._series, self._depth, start - spare, end + spare, (start, end), _BUCKETS)
        low, high = self._value_limits(seen)
        ground, top = _frame(low, high)
        zero = ground + _DRAWDOWN_TOP * (top - ground)
        deepest = max(-seen.deepest, 1e-6) * 1.06
        per_depth = (zero - ground) / deepest
        floor = ground + _VALUE_GROUND * (top - ground)
        self._line.data = {
            "time": seen.time,
            "value": seen.value,
            "deep": zero + seen.drawdown * per_depth,
            "depth": seen.drawdown.astype(np.float32),
        }
        self._gaps.data = {"start": seen.gaps[:, 0].astype(float), "end": seen.gaps[:, 1].astype(float)}
        newest = float(self._series.value[-1])
        self._last.data = {"time": [int(self._series.time[-1])], "value": [newest]}
        self._last_line.location = newest
        if self._capital is not None:
            self._inception.update(location=self._capital, visible=low <= self._capital <= high)
        self._last_line.visible = low <= newest <= high
        self._ground.location, self._zero.location = floor, zero
        self._fill_glyph.y1 = floor
        self._deep_glyph.y1 = zero
        self._y.update(start=ground, end=top)
        self._label(low, high, deepest, zero, per_depth)

    def _value_limits(self, seen: Window) -> tuple[float, float]:
        """The values shown, widened to take the starting capital in when it is near."""
        low, high = seen.low, seen.high
        if self._capital is not None:
            reach = 0.4 * (high - low)
            if low - reach <= self._capital <= high + reach:
                low, high = min(low, self._capital), max(high, self._capital)
        least = max(abs(high) * 1e-6, 0.01)
        spare = max(0.05 * (high - low), least)
        return low - spare, high + spare

    def _label(self, low: float, high: float, deepest: float, zero: float, per_depth: float) -> None:
        values = nice_ticks(low, high, 4)
        depths = nice_ticks(-deepest, 0.0, 2)
        step = values[1] - values[0] if len(values) > 1 else abs(values[0]) or 1.0
        labels: dict[float | str, Any] = {value: text.axis_value(value, step) for value in values}
        labels |= {zero + depth * per_depth: text.axis_percent(depth) for depth in depths}
        self.figure.yaxis.major_label_overrides = labels
        self._ticks.ticks = sorted(float(at) for at in labels)

    def _drawn(self) -> figure:
        colour = SCREEN
        plot = figure(
            sizing_mode="stretch_both",
            min_height=180,
            x_axis_type="datetime",
            y_axis_location="right",
            x_range=self._x,
            y_range=self._y,
            tools=[],
            toolbar_location=None,
            lod_threshold=None,
            lod_timeout=_PAUSE_MS,
            lod_interval=_PAUSE_MS,
            background_fill_color=None,
            border_fill_color=None,
            outline_line_color=None,
            min_border_left=0,
            min_border_top=2,
            min_border_bottom=22,
            min_border_right=74,
            stylesheets=[
                # A finger moving up or down scrolls the page; sideways and pinching belong to the chart.
                ".bk-Canvas .bk-events, .bk-events { touch-action: pan-y !important; }"
            ],
        )
        plot.xgrid.visible = False
        plot.ygrid.update(grid_line_color=colour.ink0, grid_line_alpha=0.045, ticker=self._ticks)
        for axis in (plot.xaxis, plot.yaxis):
            axis.update(
                axis_line_color=None,
                major_tick_line_color=None,
                minor_tick_line_color=None,
                major_label_text_color=colour.ink3,
                major_label_text_font=FONT,
                major_label_text_font_size="11px",
                major_label_text_font_style="normal",
                major_label_standoff=8,
            )
        plot.yaxis.ticker = self._ticks
        plot.xaxis.formatter = DatetimeTickFormatter(
            minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b", months="%b", years="%Y"
        )
        dates = DatetimeTicker(desired_num_ticks=8)
        plot.xaxis.ticker = dates
        # A phone has room for three dates where a desktop has it for eight.
        plot.js_on_change("inner_width", CustomJS(args={"dates": dates}, code=_AS_MANY_DATES_AS_FIT))
        self._fill_glyph = VArea(x="time", y1=0, y2="value", fill_color=colour.ink0, fill_alpha=0.035)
        self._deep_glyph = VArea(x="time", y1=0, y2="deep", fill_color=colour.ink0, fill_alpha=0.07)
        # Opaque: the fills are polygons that would bridge a gap.
        gap = VStrip(
            x0="start",
            x1="end",
            fill_color=colour.card,
            hatch_pattern="right_diagonal_line",
            hatch_color=colour.dim,
            hatch_alpha=0.45,
            hatch_scale=6,
            hatch_weight=0.5,
            line_color=colour.line,
            line_width=0.75,
        )
        deep = Line(x="time", y="deep", line_color=colour.ramp_end, line_width=0.9, line_join="round")
        value = Line(x="time", y="value", line_color=colour.ink1, line_width=1.1, line_join="round")
        dot = Scatter(x="time", y="value", size=5, fill_color=colour.ink0, line_color=None)
        # Glyphs are added bare: the plotting functions make three hidden copies of each, a third of a page's cost.
        plot.add_glyph(self._line, self._fill_glyph)
        plot.add_glyph(self._line, self._deep_glyph)
        plot.add_glyph(self._gaps, gap)
        plot.add_glyph(self._line, deep)
        drawn = plot.add_glyph(self._line, value, name="line")
        plot.add_glyph(self._last, dot)
        across: dict[str, Any] = {"dimension": "width", "line_width": 1, "level": "underlay"}
        self._zero = Span(line_color=colour.line, **across)
        self._ground = Span(line_color=colour.hairline, **across)
        self._inception = Span(line_color=colour.dim, line_dash=[3, 4], visible=False, **across)
        self._last_line = Span(line_color=colour.tick, visible=False, **across)
        plot.center.extend((self._zero, self._ground, self._inception, self._last_line))
        hover = HoverTool(
            renderers=[drawn],
            mode="vline",
            line_policy="nearest",
            limit=1,
            attachment="horizontal",
            show_arrow=False,
            tooltips=_TOOLTIP,
            formatters={"@time": CustomJSHover(code=_BOTH_TIMES), "@depth": CustomJSHover(code=_TRUE_PERCENT)},
        )
        wheel = WheelZoomTool(dimensions="width")
        cross = CrosshairTool(line_color=colour.ramp_end, line_alpha=0.8, line_width=1)
        plot.add_tools(wheel, PanTool(dimensions="width"), cross, hover)
        plot.toolbar.active_scroll = wheel
        plot.on_event(RangesUpdate, self._zoomed)
        plot.on_event(DoubleTap, self._reset)
        return plot


def _frame(low: float, high: float) -> tuple[float, float]:
    """Ground and top of the whole frame when ``low`` to ``high`` fill the part above the drawdown."""
    return high - (high - low) / (1 - _VALUE_GROUND), high


_TOOLTIP = """
<div style="font:300 12px var(--font);font-feature-settings:'tnum';line-height:17px">
<div style="color:var(--ink3)">@time{custom}</div>
<div style="color:var(--ink0);font-weight:400">@value{0,0.00}
<span style="color:var(--ink3);font-weight:300;margin:0 2px 0 6px">dd</span> @depth{custom}</div>
</div>
"""

_BOTH_TIMES = """
const at = new Date(value)
const two = (n) => String(n).padStart(2, "0")
const month = at.toLocaleString("en-GB", {month: "short", timeZone: "UTC"})
const hour = (h, m) => `${two(h)}:${two(m)}`
const utc = `${two(at.getUTCDate())} ${month} ${at.getUTCFullYear()} ${hour(at.getUTCHours(), at.getUTCMinutes())} UTC`
const away = at.getTimezoneOffset() !== 0
return away ? `${utc} · ${hour(at.getHours(), at.getMinutes())} local` : utc
"""

_AS_MANY_DATES_AS_FIT = "dates.desired_num_ticks = Math.max(3, Math.min(8, Math.floor(cb_obj.inner_width / 90)))"
_TRUE_PERCENT = """
return (value < -0.00005 ? "\u2212" : "") + Math.abs(value * 100).toFixed(2) + "%"
"""
