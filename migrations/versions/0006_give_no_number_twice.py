"""Give no number twice: SQLite gave the number of a deleted newest row to the next one.

Whoever was still deleting the old one's files would have deleted those of the new one. PostgreSQL
has sequences, which never go back.
"""

from __future__ import annotations

import re

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("jobs", "preflights", "imports")


def upgrade() -> None:
    """Apply the revision."""
    if op.get_bind().dialect.name == "sqlite":
        for table in _TABLES:
            _remake(table, "PRIMARY KEY AUTOINCREMENT")


def downgrade() -> None:
    """Revert the revision."""
    if op.get_bind().dialect.name == "sqlite":
        for table in _TABLES:
            _remake(table, "PRIMARY KEY")


def _remake(table: str, key: str) -> None:
    """Make a table anew with another kind of primary key; rows and indexes stay as they are.

    By SQLite's own words for it: what Alembic reads of an index lacks the order of its columns.
    """
    connection = op.get_bind()
    parts = connection.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL", (table,)
    ).all()
    (made,) = (sql for kind, sql in parts if kind == "table")
    name = f"CONSTRAINT pk_{table}"
    remade = re.sub(rf",\s*{name} PRIMARY KEY \(id\)", "", made, count=1)
    remade, ids = re.subn(
        rf"\bid INTEGER NOT NULL({re.escape(f' {name} PRIMARY KEY')}( AUTOINCREMENT)?)?",
        f"id INTEGER NOT NULL {name} {key}",
        remade,
        count=1,
    )
    remade, heads = re.subn(rf'^CREATE TABLE "?{table}"?', f"CREATE TABLE new_{table}", remade)
    if (ids, heads) != (1, 1):
        raise RuntimeError(f"The table {table} is not as the revisions before made it: {made}")
    connection.exec_driver_sql(remade)
    connection.exec_driver_sql(f"INSERT INTO new_{table} SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE new_{table} RENAME TO {table}")
    for kind, sql in parts:
        if kind != "table":
            connection.exec_driver_sql(sql)
