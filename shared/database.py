"""The SQL database: engine, sessions and the database's clock, for SQLite and PostgreSQL.

Owns how a transaction begins. SQLite: WAL, a busy timeout, and `BEGIN IMMEDIATE` for writers, so
that a transaction never has to turn from reader to writer ("database is locked" in spite of the
timeout). PostgreSQL: connections are checked before use, so a restarted server is no error.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import FunctionElement

from shared.models import UtcDateTime

_BUSY_TIMEOUT_SECONDS = 15.0
_BUSY_PAUSE_SECONDS = 0.01
_UNACKNOWLEDGED_MILLISECONDS = 10_000
_CONNECT_TIMEOUT_SECONDS = 5
# A statement that takes longer than this is a bug; it must not hold locks for ever.
_STATEMENT_TIMEOUT_MILLISECONDS = 60_000
# A process that stands still in a transaction holds locks that nobody else can pass.
_IDLE_TRANSACTION_MILLISECONDS = 15_000


class utc_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, `offset_seconds` from now, as SQL.

    Leases compare with this clock alone, so that a worker's wrong clock cannot matter.
    """

    type = UtcDateTime()
    inherit_cache = False
    name = "utc_now"

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self.offset_seconds = float(offset_seconds)
        super().__init__()


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: Any, **_: Any) -> str:
    # SQLAlchemy stores six decimals, SQLite's clock gives three.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.offset_seconds:+.3f} seconds')"


@compiles(utc_now, "postgresql")
def _utc_now_postgresql(element: utc_now, compiler: Any, **_: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {element.offset_seconds:.3f}))"


class _SqliteCompiler(SQLiteCompiler):
    """SQLite's SQL with hints, which SQLAlchemy leaves out: `INDEXED BY` after a table."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        """Return the hint as it is."""
        return text


class Database:
    """The engine and the two ways of opening a session.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL (`postgresql://` means psycopg 3).
        pool_size: connections kept open; as many again may be opened under load.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed
        if parsed.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(parsed, pool_size)
        else:
            self.engine = _postgresql_engine(parsed, pool_size)
        self._writer = self.engine.execution_options(sqlite_begin="IMMEDIATE")

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for reading; whatever it changed is rolled back."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits on leaving, or rolls back on an exception."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _sqlite_engine(url: sa.URL, pool_size: int) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        poolclass=sa.QueuePool,
    )
    engine.dialect.statement_compiler = _SqliteCompiler

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        cursor = connection.cursor()
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -16000")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Let readers and one writer work side by side; the file remembers it.

    SQLite's own timeout does not wait for the switch: it fails at once while another process has
    the new file in its hands.
    """
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def _postgresql_engine(url: sa.URL, pool_size: int) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            # Compiling a query costs more than any of ours takes.
            "options": "-c timezone=utc -c jit=off "
            f"-c statement_timeout={_STATEMENT_TIMEOUT_MILLISECONDS} "
            f"-c idle_in_transaction_session_timeout={_IDLE_TRANSACTION_MILLISECONDS}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # Keepalives rest while something that was sent waits for its acknowledgement.
            "tcp_user_timeout": _UNACKNOWLEDGED_MILLISECONDS,
        },
    )
