"""What Python renders and JavaScript keeps true reads the same in both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from web import present

pytestmark = pytest.mark.browser

SECONDS = [0, 0.04, 3.1, 9.94, 10, 48.2, 59.4, 60, 61, 125, 3599, 3600, 3725, 86_400, 90_061, 1e7]
FIGURES = [0, 1, 10, 0.1, 0.001, 0.000729, 0.0000859, 2.5e-6, 1e-7, 0.38742049]
LOSSES = [0, 1e-9, 0.0000123456, 0.0001, 0.04213, 0.99999, 2.3026, 1639.4, 999_940, 1e6, 2.64e9]
SHARES = [0, 0.5, 0.98765, 1]
CASES = [
    ("duration", present.duration, SECONDS),
    ("ago", present.ago, SECONDS),
    ("percent", present.percent, SHARES),
    ("figure", present.figure, FIGURES),
    ("loss", present.loss, LOSSES),
    ("count", present.count, [0, 999, 1000, 2_424_482]),
]


@pytest.mark.parametrize(("name", "python", "values"), CASES, ids=[case[0] for case in CASES])
def test_both_write_the_same(
    open_page: OpenPage, name: str, python: Callable[[Any], str], values: list[float]
) -> None:
    page = open_page("/datasets")
    script = """async ([name, values]) => {
      const format = await import("/static/js/format.js");
      return values.map((value) => format[name](value));
    }"""
    assert page.evaluate(script, [name, values]) == [python(value) for value in values]
