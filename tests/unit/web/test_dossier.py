"""How much of a long job the job page shows."""

from __future__ import annotations

from typing import Any

import pytest

from web.dossier import thinned


def rows(count: int) -> list[dict[str, Any]]:
    return [{"epoch": epoch} for epoch in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 99, 100])
def test_few_epochs_are_all_shown(count: int) -> None:
    assert thinned(rows(count), 100) == rows(count)


@pytest.mark.parametrize("count", [101, 1000, 10_000])
def test_many_epochs_are_thinned_but_first_last_and_best_stay(count: int) -> None:
    found = [row["epoch"] for row in thinned(rows(count), 100, keep=42)]
    assert len(found) <= 102
    assert {1, 42, count} <= set(found)
    assert found == sorted(found)
