"""The wheel holds everything that an installed Trainyard needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the project's wheel."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("trainyard-*.whl"))


def _files(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("package", ["migrations", "shared", "web", "worker"])
def test_every_file_of_a_package_is_in_the_wheel(wheel: Path, package: str) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert _files(package) <= packed


def test_the_wheel_brings_the_chart_library(wheel: Path) -> None:
    assert "web/static/vendor/uplot/uPlot.min.js" in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_leaves_tests_and_machinery_out(wheel: Path) -> None:
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {folder for folder in folders if folder.endswith(".dist-info")}
    assert folders - metadata == {"migrations", "shared", "web", "worker"}


def test_an_installed_trainyard_makes_its_database(
    wheel: Path, tmp_path: Path, database_url: str
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys, migrations, shared.schema as schema;"
        "schema.downgrade(sys.argv[1], 'base');"
        "print(migrations.__file__, schema.upgrade(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, database_url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == [str(tmp_path / "site" / "migrations" / "__init__.py"), "True"]
