"""Fixtures that every test can ask for: services, databases, settings, and a clean process table.

A service that this machine lacks skips the tests that need it; with CI=true it fails them.
"""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from shared.database import Database
from shared.schema import upgrade
from shared.settings import Settings
from tests.services import (
    PostgresServer,
    RedisServer,
    Service,
    ServiceMissing,
    service_processes,
)
from tests.trainers import Stable
from tests.waiting import wait_until

# Trainers are started without settings, readers of files without anything but Python's variables.
_MARK = "PYTHON_TESTED_YARD_MARK"
_END_SECONDS = 10.0

S = TypeVar("S", bound=Service)


def pytest_configure() -> None:
    """Hear SIGINT, and let every child hear it, also where a shell runs the tests with `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that train first: they take longest, and two processes share the files."""
    training = {item.path for item in items if item.get_closest_marker("training")}
    items.sort(key=lambda item: item.path not in training)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in [name for name in os.environ if name.startswith("TRAINYARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Run one Redis for the whole test run; a test may stop it, and must start it again."""
    yield from _run(RedisServer)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the URL of an empty Redis."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the whole test run; a test may stop it, and must start it again."""
    yield from _run(PostgresServer)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Give the name of a migrated PostgreSQL database, to be copied."""
    upgrade(postgres_server.create("migrated"))
    return "migrated"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a migrated SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Give the URL of a fresh, migrated SQLite database."""
    path = tmp_path / "trainyard.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Give the URL of a fresh, migrated PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create(name, template=postgres_template)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a fresh, migrated database, once of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a database without tables, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"empty_{uuid.uuid4().hex}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a fresh, migrated database, once of each kind."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings with an empty data folder, and nothing else set: no database, no Redis."""
    return Settings(data_dir=tmp_path / "var")


@pytest.fixture
def service_settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Give settings with real services: an empty Redis, a migrated database of each kind."""
    return Settings(data_dir=tmp_path / "var", database_url=database_url, redis_url=redis_url)


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stable]:
    """Give trainers that have imported TensorFlow already."""
    stable = Stable(tmp_path_factory.mktemp("trainers"))
    yield stable
    stable.close()


@pytest.fixture
def no_process_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a process that it started, directly or not, outlives it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(_MARK, mark)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield

    def left() -> list[psutil.Process]:
        children = {
            child
            for child in psutil.Process().children(recursive=True)
            if child.pid not in before and child.pid not in service_processes()
        }
        return sorted(children | _marked(mark), key=lambda process: process.pid)

    try:
        wait_until(lambda: not left(), _END_SECONDS, what="every process of the test has ended")
    except AssertionError:
        names = [f"{process.pid}: {_command_line(process)}" for process in left()]
        for process in left():
            process.kill()
        pytest.fail("Processes outlived the test:\n" + "\n".join(names))


def _run(kind: Callable[[], S]) -> Iterator[S]:
    try:
        service = kind()
    except ServiceMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"A service is missing, and this is CI: {error}")
        pytest.skip(str(error))
    try:
        service.start()
        yield service
    finally:
        service.close()


def _marked(mark: str) -> set[psutil.Process]:
    """Return the processes that inherited the test's mark, whoever is their parent now."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(_MARK) == mark:
                found.add(process)
        except (psutil.Error, OSError):
            continue  # it has ended, or is another user's
    return found


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "(ended)"
