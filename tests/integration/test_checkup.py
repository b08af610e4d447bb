"""`trainyard doctor`: a healthy yard, and what it says of a broken one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from shared.checkup import Finding, examine
from shared.database import Database, utc_now
from shared.models import Leader, Worker
from shared.settings import Settings
from tests.parts import environment
from tests.web_client import add_job
from tests.yard import trainyard


def levels(findings: list[Finding]) -> dict[str, str]:
    """Return the worst level of each check."""
    order = ["ok", "warning", "error"]
    return {f.check: f.level for f in sorted(findings, key=lambda f: order.index(f.level))}


def furnish(database: Database, **changes: object) -> None:
    """Enter a scheduler that leads and a worker that is alive."""
    with database.write() as session:
        session.execute(
            sa.insert(Leader).values(role="scheduler", holder="h", expires_at=utc_now(60))
        )
        row = {"name": "w1", "hostname": "h", "pid": 1, "queues": ["default"], "slots": []}
        times = {"started_at": utc_now(), "heartbeat_at": utc_now()} | changes
        session.execute(sa.insert(Worker).values(**row, info={}, **times))


def test_a_healthy_yard_has_no_errors_and_the_probe_is_gone(
    service_settings: Settings, database: Database
) -> None:
    furnish(database)
    found = levels(examine(service_settings))
    assert "error" not in found.values()
    assert set(found) == {
        "database",
        "clock",
        "scheduler",
        "workers",
        "redis",
        "artifacts",
        "disk",
        "secrets",
    }
    assert not [p for p in (service_settings.data_dir / "artifacts").rglob("*") if p.is_file()]


def test_an_empty_yard_lacks_scheduler_worker_and_server_of_its_queue(
    service_settings: Settings, database: Database
) -> None:
    add_job(database, queue="gpu-large")
    found = examine(service_settings)
    assert {f.check for f in found if f.level == "error"} == {"scheduler", "workers", "queues"}
    assert any("'gpu-large'" in f.sentence for f in found)
    assert all(f.advice for f in found if f.level != "ok")


def test_sqlite_on_a_network_file_system_is_an_error(
    settings: Settings, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = settings.model_copy(update={"database_url": sqlite_url})
    assert not [f for f in examine(local) if "network file system" in f.sentence]
    monkeypatch.setattr("shared.checkup.file_system_of", lambda _path: "nfs4")
    (finding,) = [f for f in examine(local) if "network file system" in f.sentence]
    assert (finding.check, finding.level) == ("database", "error")


def test_a_server_for_others_without_a_token_is_a_warning(settings: Settings) -> None:
    public = settings.model_copy(update={"url": "http://yard.example.org"})
    assert levels(examine(public))["secrets"] == "warning"


def test_a_silent_worker_is_named(service_settings: Settings, database: Database) -> None:
    furnish(database, heartbeat_at=utc_now(-100))
    assert "Worker w1 is silent." in [f.sentence for f in examine(service_settings)]


def test_an_eviction_policy_that_loses_messages_is_a_warning(service_settings: Settings) -> None:
    with redis.Redis.from_url(service_settings.resolved_redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = examine(service_settings)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert any("allkeys-lru" in f.sentence and f.level == "warning" for f in found)


def test_everything_away_is_told_by_the_command_with_exit_status_1(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    settings = Settings(
        data_dir=tmp_path,
        database_url="postgresql://nobody@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
    )
    wrong = {"TRAINYARD_ARTIFACTS_URL": f"file://{tmp_path}/taken/store"}
    done = trainyard("doctor", "--json", environment=environment(settings, **wrong))
    assert done.returncode == 1, done.stderr
    errors = {f["check"] for f in json.loads(done.stdout) if f["level"] == "error"}
    assert errors == {"database", "redis", "artifacts"}


def test_in_an_empty_folder_nothing_is_made(service_settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    settings = service_settings.model_copy(update={"data_dir": folder, "database_url": None})
    (finding,) = [f for f in examine(settings) if f.check == "database"]
    assert finding.level == "error"
    assert "no database yet" in finding.sentence
    assert not list(folder.glob("*.db*"))


def test_another_revision_is_an_error(service_settings: Settings, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    (finding,) = [f for f in examine(service_settings) if f.check == "database"]
    assert "revision 0001" in finding.sentence
    assert finding.level == "error"


def test_clocks_that_differ_are_a_warning(
    service_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(database)
    monkeypatch.setattr("shared.checkup.utc_now", lambda: utc_now(-3600))
    (finding,) = [f for f in examine(service_settings) if f.check == "clock"]
    assert finding.level == "warning"
    apart = re.search(r"differ by (\d+) s", finding.sentence)
    assert apart is not None
    assert 3600 <= int(apart[1]) < 3600 + 60  # the hour, and what passed between the two readings


def test_a_disk_that_is_nearly_full_is_a_warning(
    service_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_settings.data_dir.mkdir()
    usage = shutil.disk_usage(service_settings.data_dir)._replace(free=7_000_000)
    monkeypatch.setattr("shared.checkup.shutil.disk_usage", lambda _path: usage)
    (finding,) = [f for f in examine(service_settings) if f.check == "disk"]
    assert finding.level == "warning"
    assert finding.sentence.startswith("Only 7 MB are free")


def test_a_redis_that_keeps_nothing_is_a_warning(service_settings: Settings) -> None:
    def keeps_nothing() -> bool:
        return any("keeps nothing on disk" in f.sentence for f in examine(service_settings))

    assert keeps_nothing()
    with redis.Redis.from_url(service_settings.resolved_redis_url) as client:
        client.config_set("save", "3600 1")
        try:
            assert not keeps_nothing()
        finally:
            client.config_set("save", "")
