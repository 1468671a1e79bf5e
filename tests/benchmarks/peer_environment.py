"""A peer library in an environment of its own, installed at its first use."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ENVIRONMENTS = Path(__file__).parents[2] / ".venv-peers"


def python_with(name: str, *installs: Sequence[str]) -> Path | None:
    """The Python of environment ``name`` after ``pip install`` with each of ``installs`` in turn; None where one fails.

    What was installed once is kept until ``installs`` change.
    """
    folder = _ENVIRONMENTS / name
    wanted = hashlib.sha256("\n".join(" ".join(install) for install in installs).encode()).hexdigest()
    python, stamp = folder / "bin" / "python", folder / f".installed-{wanted}"
    if stamp.exists():
        return python
    print(f"installing {name} into {_ENVIRONMENTS.name}/{name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    for command in ([sys.executable, "-m", "venv", str(folder)], *([*pip, *install] for install in installs)):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return None
    stamp.touch()
    return python
