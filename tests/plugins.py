"""The example of a plugin package, `tests/example_plugin`, installed for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent / "example_plugin"


def install_example(folder: Path) -> Path:
    """Install the package into a folder, for `sys.path` or PYTHONPATH; return the folder."""
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder, EXAMPLE], check=True
    )
    return folder
