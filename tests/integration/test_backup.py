"""Backup while jobs are recorded, and restore into an empty folder."""

from __future__ import annotations

import subprocess
import threading
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.backup import backup, restore
from shared.database import Database
from shared.errors import ConfigurationError
from shared.models import Epoch, Job
from shared.schema import require_current
from shared.settings import Settings
from shared.yard.lock import FolderLock, FolderTaken
from tests.services import PostgresServer
from tests.web_client import add_epoch, add_job

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def count(settings: Settings) -> int:
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        found = session.scalar(sa.select(sa.func.count()).select_from(Job)) or 0
    database.dispose()
    return found


def test_a_backup_made_while_jobs_are_recorded_restores_into_an_empty_folder(
    sqlite_url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "old", database_url=sqlite_url)
    database = Database(sqlite_url)
    before = [add_job(database) for _ in range(5)]
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            add_epoch(database, add_job(database), 1)

    recorder = threading.Thread(target=record)
    recorder.start()
    backup(settings, tmp_path / "saved")
    stop.set()
    recorder.join()
    database.dispose()

    fresh = Settings(data_dir=tmp_path / "new")
    restore(fresh, tmp_path / "saved")
    assert len(before) <= count(fresh) <= count(settings)


def test_a_restore_is_refused_while_a_yard_runs(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    backup(Settings(data_dir=tmp_path, database_url=sqlite_url), tmp_path / "saved")
    lock = FolderLock.take(tmp_path, patience_seconds=0)
    with pytest.raises(FolderTaken):
        restore(settings, tmp_path / "saved")
    lock.release()
    restore(settings, tmp_path / "saved")


def test_a_restore_that_fails_leaves_the_database_as_it_was(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=sqlite_url)
    backup(settings, tmp_path / "saved")
    database = Database(sqlite_url)
    add_job(database)
    assert (tmp_path / "trainyard.db-wal").stat().st_size > 0

    def fail(_path: object) -> None:
        raise OSError("No space left on device.")

    monkeypatch.setattr("shared.backup.sqlite3.connect", fail)
    with pytest.raises(OSError, match="No space"):
        restore(settings, tmp_path / "saved")
    monkeypatch.undo()
    assert count(settings) == 1
    assert not list(tmp_path.glob("*.partial"))
    database.dispose()


def test_a_restore_leaves_the_backup_as_it_is(sqlite_url: str, tmp_path: Path) -> None:
    backup(Settings(data_dir=tmp_path, database_url=sqlite_url), tmp_path / "saved")
    before = (tmp_path / "saved").read_bytes()
    restore(Settings(data_dir=tmp_path / "new"), tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == before
    assert not list(tmp_path.glob("saved-*"))


def test_what_is_no_backup_or_a_newer_one_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    (tmp_path / "junk").write_bytes(b"junk" * 500)
    with pytest.raises(ConfigurationError, match="no backup"):
        restore(settings, tmp_path / "junk")
    database = Database(sqlite_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    with pytest.raises(ConfigurationError, match="newer version"):
        restore(settings, Path(sqlite_url.removeprefix("sqlite:///")))
    with pytest.raises(ConfigurationError, match="pg_dump"):
        backup(Settings(database_url="postgresql://h/x"), tmp_path / "x")


def test_postgresql_is_saved_and_restored_as_documented(
    postgres_server: PostgresServer, postgresql_url: str, tmp_path: Path
) -> None:
    database = Database(postgresql_url)
    job_id = add_job(database)
    add_epoch(database, job_id, 1)
    database.dispose()
    name = f"restored_{uuid.uuid4().hex}"
    restored_url = postgres_server.create(name)
    source, target = (
        url.replace("postgresql+psycopg", "postgresql") for url in (postgresql_url, restored_url)
    )
    file = tmp_path / "saved"
    for program, arguments in (
        ("pg_dump", ["--format=custom", f"--file={file}", source]),
        ("pg_restore", ["--clean", "--if-exists", f"--dbname={target}", str(file)]),
    ):
        assert f"`{program} {arguments[0]}" in OPERATING.read_text()
        command = [str(postgres_server.client_program(program)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    restored = Database(restored_url)
    with restored.engine.connect() as connection:
        require_current(connection)
    with restored.read() as session:
        assert session.scalars(sa.select(Epoch.job_id)).all() == [job_id]
    assert add_job(restored) > job_id  # numbers go on where they were
    restored.dispose()
    postgres_server.drop(name)
