"""Backup and restore of the SQLite database: whole or not at all, while a yard works.

PostgreSQL has its own programs for this, see docs/operating.md. Artifacts are files in their store
and not part of it.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from shared.errors import ConfigurationError
from shared.schema import require_not_newer
from shared.settings import Settings
from shared.yard.lock import FolderLock


def backup(settings: Settings, file: Path) -> None:
    """Write a consistent copy of the database to `file`; the yard may be running.

    Raises:
        ConfigurationError: the database is not SQLite, or there is none.
    """
    source = _sqlite_path(settings)
    if not source.exists():
        raise ConfigurationError(f"There is no database at {source}.")
    _copy(source, file)


def restore(settings: Settings, file: Path) -> None:
    """Put a backup in the database's place.

    Raises:
        ConfigurationError: the file is no backup, or newer than this code; SQLite is not used.
        FolderTaken: a yard runs in the data folder.
    """
    target = _sqlite_path(settings)
    _check(file)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FolderLock.take(settings.data_dir, patience_seconds=0)
    try:
        _copy(file, target)
    finally:
        lock.release()


def _sqlite_path(settings: Settings) -> Path:
    url = sa.make_url(settings.resolved_database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise ConfigurationError(
            "This is for SQLite; for PostgreSQL use pg_dump and pg_restore, see docs/operating.md."
        )
    return Path(url.database)


def _check(file: Path) -> None:
    if not file.is_file():
        raise ConfigurationError(f"There is no file {file}.")
    # Not through `Database`, which would turn the backup itself into one with a log beside it.
    engine = sa.create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            require_not_newer(connection)
    except sa.exc.DatabaseError as error:
        raise ConfigurationError(f"{file} is no backup of a yard: {error.orig}.") from error
    finally:
        engine.dispose()


def _copy(source: Path, target: Path) -> None:
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(partial)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        for suffix in ("-wal", "-shm"):  # they belong to the file that goes, not to this one
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
