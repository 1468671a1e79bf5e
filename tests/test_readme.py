"""The README names every command and every setting there is, and none that is not."""

import re
from pathlib import Path

import pytest

from pipelines.cli import main
from resources.settings import variable_names

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_setting_is_listed_with_its_default():
    listed = set(re.findall(r"`(DESK_[A-Z_]+|REDIS_URL)`", README)) - {"DESK_"}
    assert listed == set(variable_names().values())


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_listed(command):
    assert f"`desk {command}" in README


def test_pictures_are_in_the_repository():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (Path(__file__).parent.parent / picture).stat().st_size > 10_000
