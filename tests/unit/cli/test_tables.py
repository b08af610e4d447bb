"""Lists as tables: what a row says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from shared.cli import tables

_WORKER = {
    "name": "w1",
    "queues": ["default"],
    "slots": [],
    "hostname": "host",
    "heartbeat_at": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("alive", "running"),
        ("draining", "draining"),
        ("stopping", "stopping"),
        ("silent", "lost"),
        ("stopped", "stopped"),
    ],
)
def test_a_worker_is_shown_in_its_state(state: str, words: str) -> None:
    console = Console(width=120)
    worker = _WORKER | {"state": state, "alive": state not in ("silent", "stopped")}
    with console.capture() as captured:
        console.print(tables.workers([worker], datetime(2026, 1, 1, tzinfo=UTC)))
    assert captured.get().splitlines()[1].split()[:2] == ["w1", words]
