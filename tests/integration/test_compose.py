"""The compose file's own services, started with exactly its commands and its environment.

No Docker engine is at hand. What Docker would add is replaced: host names and ports by those of
the tests' services, paths of volumes by temporary folders, images by this checkout.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from shared.schema import expected_revision
from tests.compose import Container, own_containers
from tests.services import PostgresServer, RedisServer, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.training

TOKEN = secrets.token_hex(16)
VARIABLES = {
    "TRAINYARD_ACCESS_TOKEN": TOKEN,
    "TRAINYARD_SECRET_KEY": secrets.token_hex(16),
    "TRAINYARD_DATABASE_PASSWORD": secrets.token_hex(16),
}
PARTS = ("web", "scheduler", "worker")
START_SECONDS = 60.0
JOB_SECONDS = 120.0


class Composition:
    """The services of the compose file, as processes."""

    def __init__(self, folder: Path, postgres: PostgresServer, redis: RedisServer) -> None:
        self.port = free_port()
        self.database = f"127.0.0.1:{postgres.port}"
        self._folder = folder
        self._redis = f"127.0.0.1:{redis.port}"
        self._containers = {
            name: self._localised(container)
            for name, container in own_containers(VARIABLES).items()
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Address of the web server."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, name: str) -> int:
        """Run a one-shot service, and return its exit status."""
        return self._popen(name, self._containers[name].command).wait(START_SECONDS)

    def start(self, name: str) -> None:
        """Start a service."""
        self._running[name] = self._popen(name, self._containers[name].command)

    def alive(self, name: str) -> bool:
        """Tell whether a started service still runs."""
        return self._running[name].poll() is None

    def healthy(self, name: str) -> bool:
        """Run the service's own health check."""
        return self._popen(f"{name}-health", self._containers[name].health_command).wait(10) == 0

    def stop(self, name: str) -> int:
        """Stop a service as Docker does, and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it needed longer than its grace.
        """
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(self._containers[name].stop_grace_seconds)
        finally:
            process.kill()

    def close(self) -> None:
        """End what still runs."""
        for process in self._running.values():
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """Return what a service has printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def _popen(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        service = name.removesuffix("-health")
        bin_dir = Path(sys.executable).parent
        environment = {
            "HOME": str(self._folder),
            **{
                key: value
                for key, value in os.environ.items()
                if key.startswith("PYTHON_TESTED_YARD")
            },
            **self._containers[service].environment,
            "PATH": f"{bin_dir}{os.pathsep}{os.defpath}",
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [str(bin_dir / command[0]), *command[1:]],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _localised(self, container: Container) -> Container:
        (self._folder / container.name).mkdir()
        return replace(
            container,
            command=[self._local(part, container.name) for part in container.command],
            health_command=[self._local(part, container.name) for part in container.health_command],
            environment={
                name: self._local(value, container.name)
                for name, value in container.environment.items()
            },
        )

    def _local(self, text: str, name: str) -> str:
        for there, here in (
            ("@postgres:5432", f"@{self.database}"),
            ("redis:6379", self._redis),
            ("8080", str(self.port)),
            ("file:///artifacts", f"file://{self._folder / 'artifacts'}"),
        ):
            text = text.replace(there, here)
        return str(self._folder / name) if text == "/data" else text


@pytest.fixture
def composition(
    tmp_path: Path, postgres_server: PostgresServer, redis_url: str, redis_server: RedisServer
) -> Iterator[Composition]:
    assert redis_url == redis_server.url  # asked for, so that Redis is empty
    admin = postgres_server.url().replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE trainyard LOGIN")
        connection.execute("CREATE DATABASE trainyard OWNER trainyard")
    composition = Composition(tmp_path, postgres_server, redis_server)
    yield composition
    composition.close()
    postgres_server.drop("trainyard")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP ROLE trainyard")


@pytest.fixture
def client(composition: Composition) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"{composition.url}/api/v1", headers=headers) as client:
        yield client


def _sql(composition: Composition, query: str) -> Any:
    address = f"postgresql://trainyard@{composition.database}/trainyard"
    with psycopg.connect(address) as connection:
        return connection.execute(query.encode()).fetchone()


SMALL_JOB = {
    "name": "over compose",
    "spec": {
        "train_fraction": 0.02,
        "model": {"kind": "mlp"},
        "early_stopping": {"kind": "none"},
        "epochs": 2,
    },
}


@pytest.mark.timeout(300)
def test_the_composed_yard_trains_a_job_and_stops_in_its_grace(
    composition: Composition, client: httpx.Client, no_process_left: None
) -> None:
    assert composition.run("migrate") == 0, composition.log("migrate")
    assert _sql(composition, "SELECT version_num FROM alembic_version") == (expected_revision(),)
    for name in PARTS:
        composition.start(name)

    def healthy() -> bool:
        assert composition.alive("web"), composition.log("web")
        return composition.healthy("web")

    wait_until(healthy, START_SECONDS)
    assert httpx.get(f"{composition.url}/readyz").status_code == 200
    assert httpx.get(f"{composition.url}/api/v1/jobs").status_code == 401

    wait_until(lambda: client.get("/workers").json()["items"], START_SECONDS, what="a worker")
    wait_until(
        lambda: _sql(composition, "SELECT holder FROM leaders WHERE role = 'scheduler'"),
        START_SECONDS,
        what="a scheduler leads",
    )

    answer = client.post("/jobs", json=SMALL_JOB)
    assert answer.status_code == 201, answer.text
    address = f"/jobs/{answer.json()['id']}"

    def over() -> bool:
        for name in PARTS:
            assert composition.alive(name), composition.log(name)
        return client.get(address).json()["status"] not in ("queued", "running")

    wait_until(over, JOB_SECONDS, what="the job is over")
    job = client.get(address).json()
    assert job["status"] == "succeeded", (job, composition.log("worker"))
    assert [row["epoch"] for row in client.get(f"{address}/epochs").json()["items"]] == [1, 2]
    artifacts = {row["kind"] for row in client.get(f"{address}/artifacts").json()["items"]}
    assert "model" in artifacts

    stopped = {name: composition.stop(name) for name in reversed(PARTS)}
    assert stopped == dict.fromkeys(PARTS, 0), {name: composition.log(name) for name in PARTS}
