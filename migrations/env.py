"""Runs revisions: all of them in one transaction, one process at a time.

Whoever comes second waits for the first (PostgreSQL: an advisory lock, SQLite: `BEGIN IMMEDIATE`)
and then finds nothing left to do. Waiting is bounded, so a forgotten lock is an error and no hang.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context

from shared.database import Database
from shared.models import Base, UtcDateTime
from shared.settings import Settings

# Any fixed number: "trainyard" in letters' numbers.
_ADVISORY_LOCK = 20_18_01_09_14_25_01_18_04
_WAIT_FOR_OTHER_MIGRATION = "120s"
_WAIT_FOR_TABLE = "15s"
_STATEMENT_TIMEOUT = "30min"

_DESCENDING = {
    index.name
    for table in Base.metadata.tables.values()
    for index in table.indexes
    if not all(isinstance(expression, sa.Column) for expression in index.expressions)
}


def run() -> None:
    """Run the revisions that Alembic's command asks for, on the configured database."""
    database = Database(context.config.attributes.get("url") or Settings().resolved_database_url)
    if database.is_sqlite:
        _suspend_foreign_keys(database.engine)
    try:
        writer = database.engine.execution_options(sqlite_begin="IMMEDIATE")
        with writer.begin() as connection:
            if not database.is_sqlite:
                _take_turn(connection)
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=True,
                render_item=_render,
                include_object=_comparable,
                transactional_ddl=True,
            )
            context.run_migrations()
            if database.is_sqlite:
                _check_foreign_keys(connection)
    finally:
        database.dispose()


def _take_turn(connection: sa.Connection) -> None:
    connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHER_MIGRATION}'"))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_TABLE}'"))


def _suspend_foreign_keys(engine: sa.Engine) -> None:
    """Switch enforcement off: SQLite alters a table by dropping it, which would cascade."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.cursor().execute("PRAGMA foreign_keys = OFF")


def _check_foreign_keys(connection: sa.Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise RuntimeError(f"The revision leaves a broken reference: {tuple(broken)}.")


def _comparable(
    _item: object, name: str | None, kind: str, _reflected: bool, _other: object
) -> bool:
    """Leave out indexes with a descending column: on SQLite, Alembic takes them for changed."""
    return not (kind == "index" and name in _DESCENDING)


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Render our types for a new revision without a reference to `shared.models`."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, sa.JSON):
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    if kind == "type" and isinstance(item, sa.Enum):
        return f"sa.String({item.length})"
    return False


run()
