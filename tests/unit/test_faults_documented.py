"""The table of faults names files that there are, and leaves no fault test out."""

from __future__ import annotations

import re

import pytest

from tests.compose import ROOT

TABLE = (ROOT / "tests" / "faults" / "README.md").read_text()
TESTS = sorted(path.name for path in (ROOT / "tests" / "faults").glob("test_*.py"))
NAMED = sorted(set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+|[\w-]+\.(?:yml|toml))`", TABLE)))


@pytest.mark.parametrize("name", TESTS)
def test_a_fault_test_is_in_the_table(name: str) -> None:
    assert f"`faults/{name}`" in TABLE


@pytest.mark.parametrize("name", NAMED)
def test_a_file_of_the_table_is_there(name: str) -> None:
    path = name.removeprefix("faults/")
    assert (ROOT / name).exists() or (ROOT / "tests" / "faults" / path).exists()


@pytest.mark.parametrize("number", range(1, 26))
def test_each_fault_has_a_row(number: int) -> None:
    assert re.search(rf"(?m)^\| {number} \|", TABLE)
