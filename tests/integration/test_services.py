"""The test services themselves: what the other tests rely on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import sqlalchemy as sa

from shared.database import Database
from tests.services import PostgresServer, RedisServer
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


def test_redis_is_empty_and_comes_back_at_the_same_address(
    redis_server: RedisServer, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")
    redis_server.stop()
    assert not redis_server.ping()
    redis_server.start()
    assert redis_server.url == redis_url
    with redis.Redis.from_url(redis_server.socket_url) as client:
        assert client.dbsize() == 0


def test_postgresql_keeps_its_data_over_a_restart(
    postgres_server: PostgresServer, postgresql_url: str
) -> None:
    database = Database(postgresql_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept AS SELECT 42 AS answer"))
    postgres_server.stop()
    assert not postgres_server.ping()
    postgres_server.start()
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT answer FROM kept")) == 42
    database.dispose()


def test_postgresql_databases_do_not_share_rows(
    postgres_server: PostgresServer, postgresql_url: str
) -> None:
    other = postgres_server.create("other", template="migrated")
    database = Database(postgresql_url)
    with database.engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO leaders VALUES ('scheduler', 'me', CURRENT_TIMESTAMP)")
        )
    database.dispose()
    with psycopg.connect(other.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM leaders").fetchone() == (0,)
    postgres_server.drop("other")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("kind", ["RedisServer", "PostgresServer"])
def test_a_service_ends_with_a_test_run_that_is_killed(
    kind: str, redis_url: str, postgresql_url: str
) -> None:
    # The two URLs are asked for so that a missing service skips this test as well.
    program = (
        f"from tests.services import {kind}; service = {kind}(); service.start();"
        "print(service.pid, service.folder, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdin is not None
    pid, folder = run.stdout.readline().split()
    assert psutil.pid_exists(int(pid))
    run.kill()
    run.wait()
    run.stdin.close()
    run.stdout.close()
    wait_until(lambda: not psutil.pid_exists(int(pid)), what=f"{kind} has ended")
    shutil.rmtree(folder)


def _pytest(test: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(test)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *(f"--rootdir={folder}", "-q", "-ra", str(folder)),
        ],
        cwd=ROOT,
        env={**os.environ, "CI": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


_LEAVES_AN_ORPHAN = """
import subprocess, sys

def test_it(no_process_left):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    program = f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", program], check=True)
"""


def test_a_process_that_outlives_its_test_fails_it_and_is_ended(
    tmp_path: Path, no_process_left: None
) -> None:
    result = _pytest(_LEAVES_AN_ORPHAN, tmp_path)
    assert "Processes outlived the test" in result.stdout
    assert "time.sleep(600)" in result.stdout
    assert result.returncode == 1


_NEEDS_REDIS = """
import tests.services
from tests.services import ServiceMissing

def missing():
    raise ServiceMissing("No Redis here.")

tests.services._redis_program = missing

def test_it(redis_url):
    pass
"""


def test_a_missing_service_skips_on_a_laptop(tmp_path: Path) -> None:
    result = _pytest(_NEEDS_REDIS, tmp_path)
    assert "1 skipped" in result.stdout
    assert "No Redis here." in result.stdout


def test_a_missing_service_fails_in_ci(tmp_path: Path) -> None:
    result = _pytest(_NEEDS_REDIS, tmp_path, CI="true")
    assert "1 error" in result.stdout
    assert "No Redis here." in result.stdout
