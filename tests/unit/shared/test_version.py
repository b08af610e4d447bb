"""The code's own version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from shared.version import code_version, commit_of


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None


def test_a_checkout_has_its_commit_and_says_when_files_differ(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "One.")
    clean = commit_of(tmp_path)
    (tmp_path / "a").write_text("2")

    assert clean is not None
    assert re.fullmatch("[0-9a-f]{12}", clean)
    assert commit_of(tmp_path) == f"{clean}.dirty"


def test_a_broken_checkout_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert commit_of(tmp_path) is None


def test_the_version_begins_with_the_packages() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+[0-9a-f]{7,}(\.dirty)?)?", code_version())
