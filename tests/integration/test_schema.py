"""The migrations: both databases, both ways, in step with the models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from shared import schema
from shared.database import Database
from shared.errors import ConfigurationError
from shared.models import Base


def _tables(url: str) -> set[str]:
    database = Database(url)
    with database.engine.connect() as connection:
        names = set(sa.inspect(connection).get_table_names())
    database.dispose()
    return names - {"alembic_version"}


def _revision(url: str) -> str | None:
    database = Database(url)
    with database.engine.connect() as connection:
        revision = schema.current_revision(connection)
    database.dispose()
    return revision


def test_the_database_goes_down_to_nothing_and_up_again(database_url: str) -> None:
    expected = set(Base.metadata.tables)
    assert _tables(database_url) == expected
    schema.downgrade(database_url, "base")
    assert _tables(database_url) == set()
    assert _revision(database_url) is None
    assert schema.upgrade(database_url)
    assert _tables(database_url) == expected
    assert _revision(database_url) == schema.expected_revision()


def test_the_models_and_the_migrations_make_the_same_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": _comparable}
        )
        assert compare_metadata(context, Base.metadata) == []


def _comparable(item: object, _name: str, kind: str, _reflected: bool, _other: object) -> bool:
    """Leave out indexes with a descending column, which Alembic cannot compare on SQLite."""
    return kind != "index" or getattr(item, "name", None) != "ix_jobs_claim"


def test_every_index_of_the_models_is_made(database: Database) -> None:
    expected = {index.name for table in Base.metadata.tables.values() for index in table.indexes}
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'index'"
        if database.is_sqlite
        else "SELECT indexname FROM pg_indexes"
    )
    with database.engine.connect() as connection:
        made = set(connection.scalars(sa.text(catalogue)))
    assert expected <= made


def test_the_claim_index_has_the_order_of_the_claim(database: Database) -> None:
    definition = (
        "SELECT sql FROM sqlite_master WHERE name = 'ix_jobs_claim'"
        if database.is_sqlite
        else "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_jobs_claim'"
    )
    with database.engine.connect() as connection:
        made = connection.scalars(sa.text(definition)).one()
    assert "(status, queue, priority DESC, id)" in made


def test_an_upgrade_of_a_current_database_does_nothing(database_url: str) -> None:
    assert schema.upgrade(database_url) is False


def test_upgrades_at_the_same_time_wait_for_each_other(empty_database_url: str) -> None:
    program = "import sys; from shared.schema import upgrade; print(upgrade(sys.argv[1]))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_database_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert _revision(empty_database_url) == schema.expected_revision()


def test_a_failed_revision_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the last table cannot be made")

    monkeypatch.setattr("alembic.op.create_index", fail)
    with pytest.raises(RuntimeError, match="cannot be made"):
        schema.upgrade(empty_database_url)
    assert _tables(empty_database_url) == set()


def test_a_newer_database_is_refused_with_advice(database: Database, database_url: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer version of Trainyard"):
        schema.upgrade(database_url)
    with (
        database.engine.connect() as connection,
        pytest.raises(ConfigurationError, match="revision 9999"),
    ):
        schema.require_current(connection)


def test_a_database_without_tables_is_refused_with_advice(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with (
        database.engine.connect() as connection,
        pytest.raises(ConfigurationError, match="trainyard db upgrade"),
    ):
        schema.require_current(connection)
    database.dispose()
