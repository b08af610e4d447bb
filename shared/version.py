"""Which Trainyard this is: the package's version and, in a checkout, the commit."""

from __future__ import annotations

import functools
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_GIT_SECONDS = 5.0


@functools.cache
def code_version() -> str:
    """Return the version, such as `0.1.0`, or `0.1.0+c8221fc90446.dirty` in a changed checkout."""
    try:
        number = version("trainyard")
    except PackageNotFoundError:
        number = "0"
    commit = commit_of(_ROOT)
    return f"{number}+{commit}" if commit else number


def commit_of(folder: Path) -> str | None:
    """Return the commit of a checkout, with `.dirty` if files differ from it; None elsewhere."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=.dirty"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
