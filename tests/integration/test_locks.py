"""Locks of a process that stands still in the middle of a transaction."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from shared.database import Database
from shared.models import Job
from worker.recorder import is_outage


def test_a_transaction_that_stands_still_gives_up_its_locks(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database._IDLE_TRANSACTION_MILLISECONDS", 200)
    frozen, other = Database(postgresql_url), Database(postgresql_url)
    with frozen.engine.connect() as connection:
        connection.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        with other.read() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 0
        with pytest.raises(DBAPIError) as caught:
            connection.execute(sa.text("SELECT 1"))
    assert is_outage(caught.value), "The worker would not try again."
    frozen.dispose()
    other.dispose()
