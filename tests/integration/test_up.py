"""`trainyard up` and `trainyard demo` with all their real parts."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.services import RedisServer, free_port
from tests.waiting import wait_until
from tests.yard import RunningYard, command, running_yard, start_yard, trainyard, wait_for_ready

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("no_process_left")]

_ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 15.0
_SMALL = ("--set", "train_fraction=0.01", "--set", "epochs=2")


def _submit(yard: RunningYard, **spec: Any) -> int:
    small = {"train_fraction": 0.01, "evaluate_on": "validation", **spec}
    small["early_stopping"] = {"kind": "none"}
    return int(yard.api("/jobs", {"preset": "mlp", "spec": small})["id"])


def _wait_for_epoch(yard: RunningYard, job_id: int) -> None:
    wait_until(lambda: yard.api(f"/jobs/{job_id}")["epochs_done"] > 0, 60)


def test_a_yard_starts_from_a_backup_that_was_made_while_it_worked(tmp_path: Path) -> None:
    saved = str(tmp_path / "saved.db")
    with running_yard(tmp_path / "var") as yard:
        job_id = _submit(yard, epochs=10_000)
        _wait_for_epoch(yard, job_id)
        folder = {"TRAINYARD_DATA_DIR": str(tmp_path / "var")}
        done = trainyard("db", "backup", saved, environment=folder)
        assert done.returncode == 0, done.stderr
        refused = trainyard("db", "restore", saved, environment=folder)
        assert refused.returncode == 1
        assert yard.url in refused.stderr
    done = trainyard(
        "db", "restore", saved, environment={"TRAINYARD_DATA_DIR": str(tmp_path / "new")}
    )
    assert done.returncode == 0, done.stderr
    with running_yard(tmp_path / "new", workers=0) as yard:
        assert yard.api(f"/jobs/{job_id}")["epochs_done"] > 0
        assert yard.api(f"/jobs/{job_id}/epochs")["items"][0]["epoch"] == 1


def test_a_second_start_continues_the_jobs_of_the_first(tmp_path: Path) -> None:
    with running_yard(tmp_path / "var") as yard:
        running = _submit(yard, epochs=100)  # it must not be over before it is stopped
        waiting = _submit(yard, epochs=2)
        _wait_for_epoch(yard, running)
        yard.process.send_signal(signal.SIGINT)
        assert yard.process.wait(_STOP_SECONDS) == 0
    with running_yard(tmp_path / "var") as yard:
        for job_id, epochs in ((running, 100), (waiting, 2)):
            wait_until(lambda i=job_id: yard.api(f"/jobs/{i}")["status"] == "succeeded", 120)  # type: ignore[misc]
            rows = yard.api(f"/jobs/{job_id}/epochs")["items"]
            assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
        assert yard.api(f"/jobs/{running}")["crashes"] == 0
        outcomes = [
            attempt["outcome"] for attempt in yard.api(f"/jobs/{running}/attempts")["items"]
        ]
        assert sorted(outcomes) == ["preempted", "succeeded"]


def test_a_killed_supervisor_takes_everything_along_and_its_jobs_go_on_later(
    tmp_path: Path,
) -> None:
    yard = start_yard(tmp_path / "var")
    wait_for_ready(yard)
    job_id = _submit(yard, epochs=12)
    _wait_for_epoch(yard, job_id)
    parts = psutil.Process(yard.process.pid).children(recursive=True)
    assert len(parts) >= 8  # four wrapped parts, and a trainer
    yard.stop(signal.SIGKILL)
    with running_yard(tmp_path / "var") as again:
        wait_until(lambda: again.api(f"/jobs/{job_id}")["status"] == "succeeded", 120)
        rows = again.api(f"/jobs/{job_id}/epochs")["items"]
        assert [row["epoch"] for row in rows] == list(range(1, 13))


def test_several_workers_register_under_names_of_their_own(tmp_path: Path) -> None:
    environment = {"TRAINYARD_WORKER_NAME": "box"}
    with running_yard(tmp_path / "var", workers=2, environment=environment) as yard:
        names = {worker["name"] for worker in yard.api("/workers")["items"]}
        assert names == {"box-1", "box-2"}


def test_an_external_redis_is_used_and_none_started(
    tmp_path: Path, redis_url: str, redis_server: RedisServer
) -> None:
    environment = {"TRAINYARD_REDIS_URL": redis_url}
    with running_yard(tmp_path / "var", workers=0, environment=environment) as yard:
        parts = psutil.Process(yard.process.pid).children(recursive=True)
        assert not any("redis" in process.name() for process in parts)
        assert not (yard.data_dir / "redis").exists()
        assert "warning" not in yard.api("/jobs", {"preset": "adam"})
    assert redis_server.ping()


def test_the_embedded_redis_listens_on_a_port_where_one_is_asked_for(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--redis-port", str(port))
    with (
        running_yard(tmp_path / "var", workers=0, arguments=arguments),
        redis.Redis(port=port) as client,
    ):
        assert client.ping()


def test_other_machines_are_let_in_only_with_a_token(tmp_path: Path) -> None:
    yard = start_yard(tmp_path / "var", arguments=("--host", "0.0.0.0"))
    assert yard.process.wait(20) == 2
    assert "TRAINYARD_ACCESS_TOKEN" in yard.console


def test_the_token_is_asked_for_where_other_machines_are_let_in(tmp_path: Path) -> None:
    environment = {"TRAINYARD_ACCESS_TOKEN": "open-sesame-and-close-again"}
    arguments = ("--host", "0.0.0.0")
    with running_yard(
        tmp_path / "var", workers=0, arguments=arguments, environment=environment
    ) as yard:

        def presets(**more: str) -> subprocess.CompletedProcess[str]:
            return trainyard("presets", environment={"TRAINYARD_URL": yard.url, **more})

        refused = presets()
        assert refused.returncode == 2
        assert "TRAINYARD_TOKEN" in refused.stderr
        assert presets(TRAINYARD_TOKEN="open-sesame-and-close-again").returncode == 0


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        yard = start_yard(tmp_path / "var", port=port)
        assert yard.process.wait(20) == 2
    assert f"Port {port} on 127.0.0.1 is taken" in yard.console
    assert not (tmp_path / "var" / "trainyard.db").exists()


def test_the_demo_trains_for_real_and_prints_the_pages_address(tmp_path: Path) -> None:
    done = trainyard(
        *("demo", *_SMALL, "--data-dir", str(tmp_path / "var")),
        *("--port", str(free_port()), "--exit-when-done"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 1/2  train " in done.stdout
    assert "job 1 succeeded after" in done.stdout
    assert "/jobs/1" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_ends_by_ctrl_c_in_mid_training(tmp_path: Path) -> None:
    console = tmp_path / "console"
    with console.open("wb") as file:
        process = subprocess.Popen(
            command("demo", "--data-dir", str(tmp_path / "var"), "--port", str(free_port())),
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: "running" in console.read_text(), 60, what="the demo trains")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in console.read_text()
