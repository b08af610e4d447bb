"""The previous release's database is upgraded with all that it holds; another's is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from shared import jobs, schema
from shared.database import Database
from shared.jobs import Slot
from shared.models import Job, JobEvent, Status, Worker
from shared.settings import Settings
from tests.parts import environment, process
from tests.web_client import job_values

_AT = datetime(2026, 1, 1, tzinfo=UTC)
# What revision 0001 does not have.
_NEW_COLUMNS = ("pause_requested_at", "queue_rank")


@pytest.fixture
def previous(empty_database_url: str) -> Iterator[Database]:
    """Give a database of revision 0001, as the previous release left it: jobs 1 to 3, a worker."""
    command.upgrade(schema.config(empty_database_url), "0001")
    database = Database(empty_database_url)
    for priority in (0, 5, 0):
        _insert(database, "jobs", job_values(priority=priority, crashes=0, lost_seconds=0.0))
    for job_id in (1, 2, 3):
        event = {"job_id": job_id, "at": _AT, "kind": "submitted", "message": f"Job {job_id}."}
        _insert(database, "job_events", event)
    worker = {"name": "w1", "hostname": "h", "pid": 1, "queues": ["default"], "slots": []}
    _insert(database, "workers", worker | {"info": {}, "started_at": _AT, "heartbeat_at": _AT})
    yield database
    database.dispose()


def _insert(database: Database, name: str, values: dict[str, Any]) -> None:
    """Insert a row by the columns that the database has, not by those of today's models."""
    models = {model.__tablename__: model for model in (Job, JobEvent, Worker)}
    columns = models[name].__table__.columns
    table = sa.table(name, *(sa.column(key, columns[key].type) for key in values))
    with database.write() as session:
        session.execute(sa.insert(table).values(**values))


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def _claims(database: Database) -> list[int]:
    with database.write() as session:
        slot = Slot("w1", 0, ("default",))
        leases = [jobs.claim(session, slot, lease_seconds=60) for _ in range(3)]
    return [lease.job_id for lease in leases if lease is not None]


def test_an_upgrade_keeps_everything_and_the_order_of_claims(previous: Database) -> None:
    assert schema.upgrade(_url(previous))

    with previous.read() as session:
        found = session.scalars(sa.select(Job).order_by(Job.id)).all()
        assert [(job.id, job.queue_rank, job.priority) for job in found] == [
            (1, 1.0, 0),
            (2, 2.0, 5),
            (3, 3.0, 0),
        ]
        assert {job.status for job in found} == {Status.QUEUED}
        messages = session.scalars(sa.select(JobEvent.message).order_by(JobEvent.id)).all()
        assert list(messages) == ["Job 1.", "Job 2.", "Job 3."]
        worker = session.get_one(Worker, "w1")
        assert (worker.queues, worker.drain_requested_at) == (["default"], None)
    assert _claims(previous) == [2, 1, 3]


@pytest.mark.parametrize("again", [False, True], ids=["upgraded", "down and up again"])
def test_an_upgraded_database_gives_no_number_twice(previous: Database, again: bool) -> None:
    schema.upgrade(_url(previous))
    if again:
        schema.downgrade(_url(previous), "0005")
        schema.upgrade(_url(previous))
    with previous.write() as session:
        session.execute(sa.delete(Job).where(Job.id == 3))
    _insert(previous, "jobs", job_values(crashes=0, lost_seconds=0.0))

    with previous.read() as session:
        assert list(session.scalars(sa.select(Job.id).order_by(Job.id))) == [1, 2, 4]
        assert list(session.scalars(sa.select(JobEvent.job_id).order_by(JobEvent.id))) == [1, 2]


def test_a_downgrade_keeps_the_jobs_and_what_is_paused_waits_again(previous: Database) -> None:
    schema.upgrade(_url(previous))
    with previous.write() as session:
        jobs.request_pause(session, 1)
    schema.downgrade(_url(previous), "0001")

    with previous.engine.connect() as connection:
        statuses = connection.scalars(sa.text("SELECT status FROM jobs ORDER BY id")).all()
        assert list(statuses) == ["queued"] * 3
        columns = {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
    assert not columns & set(_NEW_COLUMNS)


@pytest.mark.parametrize("module", ["worker", "worker.scheduler"])
@pytest.mark.parametrize(
    ("revision", "advice"), [("0001", "Run `trainyard db upgrade`"), ("9999", "update this code")]
)
def test_another_revision_is_refused_with_both_named(
    module: str, revision: str, advice: str, sqlite_url: str, tmp_path: Path
) -> None:
    database = Database(sqlite_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    database.dispose()
    settings = Settings(data_dir=tmp_path / "var", database_url=sqlite_url)

    log = tmp_path / "log"
    with process(module, environment(settings), log) as refused:
        assert refused.wait(60) == 2
    said = log.read_text()
    assert f"The database is at revision {revision}" in said
    assert f"needs {schema.expected_revision()}" in said
    assert advice in said


def test_a_database_that_is_away_is_no_mismatch(caplog: pytest.LogCaptureFixture) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    schema.require_current_if_reachable(database)
    assert "away" in caplog.text
