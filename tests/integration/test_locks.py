"""Locks of a process that stands still in the middle of a transaction."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from shared.database import Database
from shared.models import Job
from worker.recorder import is_outage


def test_a_transaction_that_stands_still_gives_up_its_locks(postgresql_url: str) -> None:
    frozen, other = Database(postgresql_url), Database(postgresql_url)
    with frozen.engine.connect() as connection:
        limit = connection.scalar(sa.text("SHOW idle_in_transaction_session_timeout"))
        assert limit == "15s"
        # In one: from here on it may stand still, and only here shall it have so little time.
        connection.exec_driver_sql(
            "SET idle_in_transaction_session_timeout = 200;LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"
        )
        with other.read() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 0
        with pytest.raises(DBAPIError) as caught:
            connection.execute(sa.text("SELECT 1"))
    assert is_outage(caught.value), "The worker would not try again."
    frozen.dispose()
    other.dispose()
