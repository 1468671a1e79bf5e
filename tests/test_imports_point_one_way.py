"""resources <- assets.accounting <- the other assets <- dashboards <- pipelines, and no capability sideways.

Imports are read from the source, those inside functions and of type checkers too: a late import is a dependency.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("resources", "assets", "dashboards", "pipelines")
CAPABILITIES = sorted(folder.name for folder in (ROOT / "assets").iterdir() if (folder / "__init__.py").exists())

# What the modules of a folder may import of this repository, beside itself.
ALLOWED = {
    "resources": (),
    "assets/accounting": ("resources",),
    **{
        f"assets/{name}": ("resources", "assets.accounting", "assets.days", "assets.metadata")
        for name in CAPABILITIES
        if name != "accounting"
    },
    "dashboards": ("resources", "assets"),
    "pipelines": ("resources", "assets", "dashboards"),
}


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imported(module: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(line, module, names taken from it) of every import; a relative one is spelt out."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.relative_to(ROOT).parts[: -node.level] if node.level else ()
            yield node.lineno, ".".join([*above, *filter(None, [node.module])]), tuple(a.name for a in node.names)


def of_this_repository(module: Path) -> Iterator[tuple[int, str]]:
    """Of ``from assets import metadata`` what is meant is ``assets.metadata``."""
    for line, name, taken in imported(module):
        if name.split(".")[0] in PACKAGES:
            yield from ((line, f"{name}.{each}") for each in taken) if name in PACKAGES else [(line, name)]


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_itself_and_what_lies_below_it(folder: str) -> None:
    allowed = (folder.replace("/", "."), *ALLOWED[folder])
    assert [
        f"{module.relative_to(ROOT)}:{line} imports {name}"
        for module in modules(folder)
        for line, name in of_this_repository(module)
        if not within(name, allowed)
    ] == []


def test_what_all_capabilities_share_imports_none_of_them() -> None:
    assert [
        f"{module.name}:{line} imports {name}"
        for module in (ROOT / "assets").glob("*.py")
        for line, name in of_this_repository(module)
        if not within(name, ("resources",))
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_takes_what_another_keeps_to_itself(package: str) -> None:
    assert [
        f"{module.relative_to(ROOT)}:{line} takes {each} from {name}"
        for module in modules(package)
        for line, name, taken in imported(module)
        for each in taken
        if name.split(".")[0] in PACKAGES and each.startswith("_")
    ] == []


def test_no_folder_of_assets_escapes() -> None:
    folders = {module.relative_to(ROOT / "assets").parts[0] for module in (ROOT / "assets").glob("*/**/*.py")}
    assert sorted(folders) == CAPABILITIES
