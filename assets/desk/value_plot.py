"""The value log as a picture inside Dagster's metadata. Floats appear here for display alone."""

import base64
import io
import itertools
from collections.abc import Iterable

import dagster as dg

from assets.desk.value_log import LogRow


def value_plot(rows: Iterable[LogRow], width: int = 720, height: int = 180) -> dg.MarkdownMetadataValue | None:
    """Portfolio value over time as an inline picture; None below two rows. Missing minutes stay gaps."""
    from PIL import Image, ImageDraw  # 40 ms, needed only where a run draws

    points = [(row.timestamp.timestamp(), float(row.portfolio_value)) for row in rows]
    if len(points) < 2:
        return None
    (first, last), values = (points[0][0], points[-1][0]), [value for _, value in points]
    low, high = min(values), max(values)
    span, pad = (high - low) or 1.0, 12
    image = Image.new("RGB", (width, height), "#0A0A0B")
    draw = ImageDraw.Draw(image)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = pad + (point[0] - first) / ((last - first) or 1.0) * (width - 2 * pad)
        return x, height - pad - (point[1] - low) / span * (height - 3 * pad)

    for before, after in itertools.pairwise(points):
        if after[0] - before[0] < 150:
            draw.line((at(before), at(after)), fill="#E6E6EA")
    draw.text((pad, 1), f"{high:,.2f}", fill="#84848F")
    draw.text((pad, height - pad), f"{low:,.2f}", fill="#84848F")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![portfolio value](data:image/png;base64,{encoded})")
