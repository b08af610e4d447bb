"""Every setting is explained where a person looks for it."""

from __future__ import annotations

import re

import pytest

from shared.settings import Settings
from tests.compose import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
NAMES = [f"TRAINYARD_{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_has_a_row_in_the_readme(name: str) -> None:
    assert re.search(rf"(?m)^\| `{name}` \| .+ \| .+ \|$", README)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_in_the_example_environment(name: str) -> None:
    assert re.search(rf"(?m)^#?{name}=", EXAMPLE)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_describes_itself(name: str) -> None:
    assert Settings.model_fields[name].description


def test_the_readme_documents_no_setting_that_is_gone() -> None:
    documented = re.findall(r"(?m)^\| `(TRAINYARD_\w+)` \|", README)
    assert set(documented) == set(NAMES)
