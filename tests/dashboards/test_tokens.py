import re
from pathlib import Path

import pytest

import dashboards
from dashboards.theme import tokens

ROOT = Path(dashboards.__file__).parent
PALETTES = {"screen": tokens.SCREEN, "more contrast": tokens.MORE_CONTRAST, "paper": tokens.PAPER}


@pytest.mark.parametrize("name", PALETTES)
def test_text_reaches_4_5_to_1_on_every_surface(name: str) -> None:
    palette = PALETTES[name]
    for ink in tokens.TEXT_INKS:
        for surface in tokens.SURFACES:
            assert tokens.contrast(getattr(palette, ink), getattr(palette, surface)) >= 4.5, (ink, surface)


@pytest.mark.parametrize("name", PALETTES)
def test_marks_reach_3_to_1_on_every_surface(name: str) -> None:
    palette = PALETTES[name]
    for ink in tokens.MARK_INKS:
        for surface in tokens.SURFACES:
            assert tokens.contrast(getattr(palette, ink), getattr(palette, surface)) >= 3, (ink, surface)


def test_inverse_pills_and_chips_are_readable() -> None:
    for palette in PALETTES.values():
        assert tokens.contrast(palette.page, palette.ink1) >= 4.5


def test_known_contrast() -> None:
    assert tokens.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert tokens.contrast("#70707b", "#0a0a0b") == pytest.approx(4.05, abs=0.01)


def test_the_palette_is_monochrome() -> None:
    """Never more than a cold tint: no channel further than 16 from another."""
    for palette in PALETTES.values():
        for colour in (getattr(palette, name) for name in palette.__slots__):
            channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            assert max(channels) - min(channels) <= 16


def test_hex_colours_stand_in_the_tokens_only() -> None:
    colour = re.compile(r"#[0-9a-fA-F]{3,8}\b")
    for path in ROOT.rglob("*"):
        if path.suffix in (".py", ".css", ".js", ".html", ".svg") and path.name != "tokens.py":
            found = [m for m in colour.findall(path.read_text(encoding="utf-8")) if len(m) in (4, 7, 9)]
            assert not found, (path, found)


def test_no_file_names_another_host() -> None:
    for path in ROOT.rglob("*"):
        if path.suffix in (".py", ".css", ".js", ".html"):
            addresses = re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
            assert not addresses, (path, addresses)
