"""Fault 13: SQLite with web server, two workers, scheduler and live readers at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from shared.database import Database
from shared.models import Status
from shared.settings import Settings
from tests.history import check_history
from tests.parts import process
from tests.services import free_port
from tests.waiting import wait_until
from tests.worker_yard import Yard, make_yard

pytestmark = pytest.mark.slow

_JOBS = 24
_EPOCHS = 5
_READERS = 6


@pytest.fixture
def yard(sqlite_url: str, redis_url: str, tmp_path: Path, no_process_left: None) -> Yard:
    settings = Settings(data_dir=tmp_path / "var", database_url=sqlite_url, redis_url=redis_url)
    return make_yard(settings, Database(sqlite_url), tmp_path)


def test_everybody_at_once_is_never_told_that_the_database_is_locked(yard: Yard) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api/v1"
    over = threading.Event()
    open_gates = {"FAKE_TRAINER_GATE": "", "FAKE_TRAINER_EPOCH_SECONDS": "0.05"}
    with (
        process("web", yard.env, yard.log("web"), arguments=["--port", str(port)]),
        yard.scheduler(),
        yard.worker("w1", TRAINYARD_SLOTS="2", **open_gates),
        yard.worker("w2", TRAINYARD_SLOTS="2", **open_gates),
        ThreadPoolExecutor(2 * _READERS + 1) as pool,
    ):
        wait_until(lambda: answers(f"{api}/jobs"), what="the web server answers")
        readers = [pool.submit(read_lists, api, over) for _ in range(_READERS)]
        readers += [pool.submit(read_stream, api, over) for _ in range(_READERS)]
        try:
            ids = list(pool.map(lambda number: submit(api, number), range(_JOBS)))
            for job_id in ids:
                yard.wait(job_id, Status.SUCCEEDED, 120)
        finally:
            over.set()
        assert all(reader.result(30) > 0 for reader in readers)
    assert len(set(ids)) == _JOBS
    for job_id in ids:
        assert [epoch for epoch, _ in yard.epochs(job_id)] == list(range(1, _EPOCHS + 1))
        assert yard.job(job_id).attempt == 1
    for name in ("web", "w1", "w2", "scheduler"):
        assert "locked" not in yard.log(name).read_text()
    check_history(yard.database, yard.store)


def answers(url: str) -> bool:
    """Tell whether the server answers."""
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def submit(api: str, number: int) -> int:
    """Submit a job, and change it as a person may."""
    body = {"name": f"job {number}", "spec": {"seed": 0, "epochs": _EPOCHS}}
    job = httpx.post(f"{api}/jobs", json=body, timeout=30).raise_for_status().json()
    change = {"tags": [f"tag-{number}"]}
    httpx.patch(f"{api}/jobs/{job['id']}", json=change, timeout=30).raise_for_status()
    return int(job["id"])


def read_lists(api: str, over: threading.Event) -> int:
    """Read the list of jobs again and again; return how often."""
    count = 0
    with httpx.Client(timeout=30) as client:
        while not over.is_set():
            client.get(f"{api}/jobs", params={"limit": 50}).raise_for_status()
            client.get(f"{api}/queue").raise_for_status()
            count += 1
    return count


def read_stream(api: str, over: threading.Event) -> int:
    """Listen to the live stream; return how many lines came."""
    count = 0
    with httpx.stream("GET", f"{api}/stream", timeout=30) as stream:
        for _ in stream.iter_lines():
            count += 1
            if over.is_set():
                break
    return count
