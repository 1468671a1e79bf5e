"""Colour, type and space of every screen: the only place with a hex value.

The ramp from ``page`` to ``ramp_end`` is for surfaces, lines and inactive marks; text and data use the four
inks above it, because nothing darker than ``ink3`` reaches 4.5:1 on every surface it stands on.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """One set of colours, sRGB hex. Fields are named by role, darkest surface first."""

    page: str
    card: str
    raised: str
    hairline: str
    line: str
    tick: str
    dim: str
    ramp_end: str
    ink3: str
    ink2: str
    ink1: str
    ink0: str


SCREEN = Palette(
    page="#0a0a0b",
    card="#0e0e10",
    raised="#141417",
    hairline="#1c1c20",
    line="#2a2a30",
    tick="#3a3a42",
    dim="#52525c",
    ramp_end="#70707b",
    ink3="#84848f",
    ink2="#a6a6b0",
    ink1="#e6e6ea",
    ink0="#f7f7f8",
)

# prefers-contrast: more lifts the hairlines and the two quiet inks; surfaces stay.
MORE_CONTRAST = Palette(
    page="#0a0a0b",
    card="#0e0e10",
    raised="#141417",
    hairline="#52525c",
    line="#70707b",
    tick="#84848f",
    dim="#84848f",
    ramp_end="#a6a6b0",
    ink3="#c4c4cc",
    ink2="#dcdce2",
    ink1="#f7f7f8",
    ink0="#ffffff",
)

# Paper is light: the same roles, the other way round.
PAPER = Palette(
    page="#ffffff",
    card="#ffffff",
    raised="#f2f2f4",
    hairline="#d8d8dd",
    line="#c0c0c8",
    tick="#a6a6b0",
    dim="#84848f",
    ramp_end="#70707b",
    ink3="#5c5c66",
    ink2="#3a3a42",
    ink1="#1c1c20",
    ink0="#0a0a0b",
)

# Text inks and the surfaces they may stand on; marks need 3:1 only (WCAG 2 AA 1.4.3 and 1.4.11).
TEXT_INKS = ("ink3", "ink2", "ink1", "ink0")
MARK_INKS = ("ramp_end", *TEXT_INKS)
SURFACES = ("page", "card", "raised")

FONT = '"Inter Variable", "Inter", system-ui, sans-serif'


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two hex colours, 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def custom_properties() -> str:
    """The palettes as CSS custom properties on ``:root``; they cross shadow roots, so they are stated once."""

    def block(palette: Palette) -> str:
        lines = (f"--{name.replace('_', '-')}:{value}" for name, value in asdict(palette).items())
        return ":root{" + ";".join(lines) + "}"

    return (
        block(SCREEN)
        + f":root{{--font:{FONT}}}"
        + f"@media (prefers-contrast: more){{{block(MORE_CONTRAST)}}}"
        + f"@media print{{{block(PAPER)}}}"
    )
