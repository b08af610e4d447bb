"""The database's schema revision: what it is, what this code expects, and the way between.

Owns running the migrations from a program (`trainyard db upgrade`, `trainyard up`, tests). The
tables themselves stand in `shared.models`, the steps between their versions in `migrations`.
"""

from __future__ import annotations

import functools
import logging
from importlib.resources import files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from shared.database import Database
from shared.errors import ConfigurationError

log = logging.getLogger(__name__)


@functools.cache
def expected_revision() -> str:
    """Return the revision that this code needs."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    if head is None:
        raise RuntimeError("The package `migrations` holds no revision.")
    return head


def current_revision(connection: sa.Connection) -> str | None:
    """Return the database's revision; None for a database without tables."""
    return MigrationContext.configure(connection).get_current_revision()


def require_current(connection: sa.Connection) -> None:
    """Check that database and code fit together.

    Raises:
        ConfigurationError: the database is older or newer than this code.
    """
    current = current_revision(connection)
    if current != expected_revision():
        raise ConfigurationError(_mismatch(current))


def mismatch(database: Database) -> str | None:
    """Return how the database's revision and this code differ, and what to do; None if they fit.

    Raises:
        SQLAlchemyError: the database cannot be asked.
    """
    try:
        with database.engine.connect() as connection:
            require_current(connection)
    except ConfigurationError as error:
        return str(error)
    return None


def require_not_newer(connection: sa.Connection) -> None:
    """Check that this code can upgrade the database, or need not.

    Raises:
        ConfigurationError: the database has no revision, or one that this code does not know.
    """
    current = current_revision(connection)
    if current is None or not _known(current):
        raise ConfigurationError(_mismatch(current))


def require_current_if_reachable(database: Database) -> None:
    """Check, before a process begins its work, that database and code fit together.

    A database that is away is no mismatch: whoever works with it waits until it is back.

    Raises:
        ConfigurationError: the database is older or newer than this code.
    """
    try:
        with database.engine.connect() as connection:
            require_current(connection)
    except sa.exc.OperationalError as error:
        log.warning("The database is away, its revision is not checked: %s", error)


def upgrade(database_url: str) -> bool:
    """Bring the database to the revision that this code needs.

    Safe to call from several processes at once: one migrates, the others wait.

    Returns:
        Whether there was anything to do.

    Raises:
        ConfigurationError: the database is newer than this code.
    """
    current = _current(database_url)
    if current == expected_revision():
        return False
    if current is not None and not _known(current):
        raise ConfigurationError(_mismatch(current))
    command.upgrade(config(database_url), "head")
    return True


def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to an earlier revision; `base` means without tables."""
    command.downgrade(config(database_url), revision)


def config(database_url: str = "") -> Config:
    """Return Alembic's configuration for one database; the configured one unless given."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["url"] = database_url
    return config


def _current(database_url: str) -> str | None:
    database = Database(database_url, pool_size=1)
    try:
        with database.engine.connect() as connection:
            return current_revision(connection)
    finally:
        database.dispose()


def _known(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(config())
    return any(script.revision == revision for script in scripts.walk_revisions())


def _mismatch(current: str | None) -> str:
    if current is not None and not _known(current):
        advice = "It was made by a newer version of Trainyard: update this code."
    else:
        advice = "Run `trainyard db upgrade`."
    return (
        f"The database is at revision {current or 'none'}, "
        f"this version needs {expected_revision()}. {advice}"
    )
