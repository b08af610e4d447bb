"""The command line against a real yard: Redis, SQLite, web server, worker, real training."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.services import free_port
from tests.waiting import wait_until
from tests.yard import RunningYard, command, running_yard
from tests.yard import trainyard as run_trainyard

pytestmark = pytest.mark.training

_ROOT = Path(__file__).parents[2]
_WATCH_SECONDS = 120
# 600 images: an epoch takes a moment.
_SMALL = ("--preset", "mlp", "--set", "train_fraction=0.01", "--set", "evaluate_on=validation")
_ENDLESS = (*_SMALL, "--set", "epochs=10000", "--set", "early_stopping.kind=none")

Done = subprocess.CompletedProcess[str]
Trainyard = Callable[..., Done]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with running_yard(tmp_path_factory.mktemp("cli") / "var") as yard:
        yield yard


@pytest.fixture
def trainyard(yard: RunningYard) -> Trainyard:
    def run(*arguments: str, status: int = 0, url: str = yard.url) -> Done:
        done = run_trainyard(*arguments, environment={"TRAINYARD_URL": url})
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def _submit(trainyard: Trainyard, *arguments: str) -> int:
    return int(json.loads(trainyard("submit", *arguments, "--json").stdout)["id"])


def _job(trainyard: Trainyard, job_id: int) -> dict[str, Any]:
    document = json.loads(trainyard("show", str(job_id), "--json").stdout)
    assert isinstance(document, dict)
    return document


def _kill_web_server(yard: RunningYard) -> None:
    killed = 0
    for process in psutil.Process(yard.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # or it has ended, and waits for its parent
            if "web" in process.cmdline()[2:]:
                process.kill()
                killed += 1
    assert killed


@pytest.fixture(scope="module")
def finished(yard: RunningYard) -> int:
    """Give the number of a job that has succeeded."""
    done = run_trainyard(
        *("submit", *_SMALL, "--set", "epochs=3", "--set", "early_stopping.kind=none"),
        *("--name", "three epochs", "--tag", "small", "--watch", "--json"),
        environment={"TRAINYARD_URL": yard.url},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "end"
    assert last["data"]["status"] == "succeeded"
    return int(last["data"]["id"])


def test_a_watched_job_is_told_line_by_line_and_ends_with_its_result(trainyard: Trainyard) -> None:
    done = trainyard("submit", *_SMALL, "--set", "epochs=2", "--watch")
    lines = done.stdout.splitlines()
    assert "is queued: http://127.0.0.1:" in lines[0]
    epochs = [line for line in lines if line.startswith("epoch")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert any("succeeded after" in line and "best accuracy" in line for line in lines)


def test_a_job_that_fails_gives_exit_status_1_and_the_reason(trainyard: Trainyard) -> None:
    limit = ("--set", "resources.max_runtime_seconds=1")
    done = trainyard("submit", *_ENDLESS, *limit, "--watch", status=1)
    assert "failed after" in done.stdout
    assert "timeout: " in done.stdout


def test_a_broken_rule_is_named_with_field_and_value_and_nothing_is_queued(
    trainyard: Trainyard,
) -> None:
    before = json.loads(trainyard("jobs", "--json").stdout)
    done = trainyard(
        "submit", "--set", "learning_rate=-1", "--set", "model.kind=cnn9", "--set", "no=1", status=2
    )
    assert "spec.learning_rate: " in done.stderr
    assert "Received: -1." in done.stderr
    assert "spec.no: There is no such field. Received: 1." in done.stderr
    assert "spec.model" in done.stderr
    assert json.loads(trainyard("jobs", "--json").stdout) == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("submit", "--preset", "none-such"), "preset: Must be one of: hello-world"),
        (("submit", "--set", "dataset.name=none-such"), "spec.dataset.name: "),
        (("submit", "--set", "epochs"), "--set: Must be path=value"),
        (("submit", "--file", "none-such.json"), "--file: Must be a JSON or TOML file"),
        (("show", "999999"), "999999"),
        (("watch", "999999"), "999999"),
        (("jobs", "--sort", "none-such"), "sort"),
        (("show", "x"), "job_id"),
        (("none-such",), "none-such"),
    ],
)
def test_wrong_usage_gives_exit_status_2_and_says_what_is_wrong(
    trainyard: Trainyard, arguments: tuple[str, ...], complaint: str
) -> None:
    done = trainyard(*arguments, status=2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server_gives_exit_status_3_and_says_how_to_start_one(trainyard: Trainyard) -> None:
    done = trainyard("jobs", url=f"http://127.0.0.1:{free_port()}", status=3)
    assert "cannot be reached" in done.stderr
    assert "trainyard up" in done.stderr


def test_jobs_are_listed_filtered_and_sorted(trainyard: Trainyard, finished: int) -> None:
    def ids(*arguments: str) -> list[int]:
        return [job["id"] for job in json.loads(trainyard("jobs", *arguments, "--json").stdout)]

    assert finished in ids()
    assert ids("--tag", "small") == [finished]
    assert ids("--q", "three epochs") == [finished]
    assert finished in ids("--status", "succeeded", "--param", "epochs=3")
    assert finished not in ids("--status", "failed")
    assert len(ids("--limit", "1")) == 1
    assert ids("--sort", "id") == sorted(ids())
    table = trainyard("jobs", "--tag", "small").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "Status", "Name"]
    assert table[1].split()[:4] == [str(finished), "succeeded", "three", "epochs"]


def test_a_job_is_shown_with_its_figures_and_its_curve(trainyard: Trainyard, finished: int) -> None:
    shown = trainyard("show", str(finished)).stdout
    job = _job(trainyard, finished)
    assert [row["epoch"] for row in job["epochs"]] == [1, 2, 3]
    assert f"{job['best_eval_accuracy'] * 100:.2f}%" in shown
    assert job["result"]["weights_sha256"] in shown
    assert "mlp, hidden_units [256, 128], dropout 0.0" in shown
    assert "evaluation " in shown


def test_epochs_are_exported_as_csv_and_as_json(trainyard: Trainyard, finished: int) -> None:
    text = trainyard("export", str(finished)).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    exported = json.loads(trainyard("export", str(finished), "--format", "json").stdout)
    assert [float(row["eval_accuracy"]) for row in rows] == [
        row["eval_accuracy"] for row in exported
    ]


def test_files_are_fetched_complete(trainyard: Trainyard, finished: int, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    done = trainyard("export", str(finished), "--artifacts", str(folder))
    names = {path.name for path in folder.iterdir()}
    assert any(name.endswith(".keras") for name in names)
    assert any(name.endswith(".tflite") for name in names)
    assert not any("checkpoint" in name for name in names)
    assert set(done.stderr.split()) == {str(folder / name) for name in names}
    assert all(path.stat().st_size > 0 for path in folder.iterdir())
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert len(digests) == len(names)


def test_a_preflight_tells_what_a_job_would_take(trainyard: Trainyard, finished: int) -> None:
    told = trainyard("preflight", *_SMALL, "--set", "epochs=3").stdout
    for words in ("on", "CPU, float32", "an epoch", "all 3 epochs", "GiB", "largest batch"):
        assert words in told
    answer = json.loads(trainyard("preflight", "--job", str(finished), "--json").stdout)
    assert (answer["status"], answer["report"]["fits"]) == ("done", True)
    assert answer["spec"] == _job(trainyard, finished)["spec"]
    assert 0 < answer["report"]["epoch_seconds"] < 60


def test_a_preflight_of_what_cannot_be_trained_gives_exit_status_1(trainyard: Trainyard) -> None:
    changes = ("--set", "model.kind=plugin", "--set", "model.name=nobody-has-it")
    done = trainyard("preflight", *changes, status=1)
    assert "model: There is no model 'nobody-has-it' on this worker." in done.stderr
    assert done.stdout == ""


def test_a_retry_is_a_new_job_of_the_same_spec(trainyard: Trainyard, finished: int) -> None:
    again = json.loads(trainyard("retry", str(finished), "--json").stdout)
    assert again["id"] != finished
    assert again["parent_id"] == finished
    assert trainyard("watch", str(again["id"])).stdout.count("epoch ") >= 3
    assert _job(trainyard, again["id"])["spec"] == _job(trainyard, finished)["spec"]


def test_a_running_job_is_cancelled_and_its_watcher_told(trainyard: Trainyard) -> None:
    job_id = _submit(trainyard, *_ENDLESS)
    wait_until(lambda: _job(trainyard, job_id)["epochs_done"] > 0, 60)
    assert "will stop in a moment" in trainyard("cancel", str(job_id)).stdout
    assert "cancelled" in trainyard("watch", str(job_id), status=1).stdout


def test_a_running_job_is_paused_and_goes_on_from_where_it_was(
    yard: RunningYard, trainyard: Trainyard
) -> None:
    job_id = _submit(trainyard, *_ENDLESS)
    wait_until(lambda: _job(trainyard, job_id)["epochs_done"] > 0, 60)
    assert "will save itself and rest" in trainyard("pause", str(job_id)).stdout
    wait_until(lambda: _job(trainyard, job_id)["status"] == "paused", 30)
    rested = _job(trainyard, job_id)
    attempts = yard.api(f"/jobs/{job_id}/attempts")["items"]
    assert [attempt["outcome"] for attempt in attempts] == ["paused"]
    events = yard.api(f"/jobs/{job_id}/events")["items"]
    (asked,) = [event for event in events if event["kind"] == "pause_requested"]
    assert asked["actor"] == "command line, 127.0.0.1"

    assert trainyard("resume", str(job_id)).stdout == f"job {job_id} is queued\n"
    wait_until(lambda: _job(trainyard, job_id)["epochs_done"] > rested["epochs_done"], 60)
    trainyard("cancel", str(job_id))
    wait_until(lambda: _job(trainyard, job_id)["status"] == "cancelled", 30)
    epochs = [row["epoch"] for row in _job(trainyard, job_id)["epochs"]]
    assert epochs == list(range(1, len(epochs) + 1))


def test_waiting_jobs_are_moved_and_listed_with_the_reason(trainyard: Trainyard) -> None:
    first, second, third = (_submit(trainyard, *_SMALL, "--queue", "of-nobody") for _ in range(3))

    def waiting() -> list[int]:
        items = json.loads(trainyard("queue", "--json").stdout)
        return [row["job_id"] for row in items if row["queue"] == "of-nobody"]

    assert waiting() == [first, second, third]
    moved = trainyard("move", str(third), "--before", str(second)).stdout
    assert moved.startswith(f"job {third} is number ")
    assert waiting() == [first, third, second]
    trainyard("move", str(second), "--front")
    trainyard("move", str(first), "--end")
    assert waiting() == [second, third, first]
    assert "has priority 7" in trainyard("priority", str(first), "7").stdout
    assert waiting() == [first, second, third]
    assert "No worker serves queue 'of-nobody'" in trainyard("queue").stdout
    assert "--before" in trainyard("move", str(first), status=2).stderr
    assert "999999" in trainyard("pause", "999999", status=2).stderr
    for job_id in (first, second, third):
        trainyard("cancel", str(job_id))
    assert "is cancelled" in trainyard("move", str(first), "--end", status=2).stderr


def test_a_worker_is_drained_and_takes_jobs_again(yard: RunningYard, trainyard: Trainyard) -> None:
    def state() -> str:
        (worker,) = json.loads(trainyard("workers", "--json").stdout)
        return str(worker["state"])

    (worker,) = json.loads(trainyard("workers", "--json").stdout)
    name = worker["name"]
    assert "undrain" in trainyard("drain", name, "--reason", "new disk").stdout
    assert state() == "draining"
    log = yard.data_dir / "logs" / "worker.log"
    wait_until(lambda: "The worker drains" in log.read_text(), what="the worker knows")
    waiting = _submit(trainyard, *_SMALL, "--set", "epochs=1")
    assert _job(trainyard, waiting)["status"] == "queued"
    trainyard("undrain", name)
    assert state() == "alive"
    trainyard("watch", str(waiting))
    assert "none-such" in trainyard("drain", "none-such", status=2).stderr


def test_a_failed_job_is_run_again_corrected(trainyard: Trainyard) -> None:
    limit = ("--set", "resources.max_runtime_seconds=1")
    failed = _submit(trainyard, *_ENDLESS, *limit)
    trainyard("watch", str(failed), status=1)
    again = json.loads(trainyard("retry", str(failed), "--corrected", "--json").stdout)
    assert again["spec"]["resources"]["max_runtime_seconds"] == 2
    assert again["parent_id"] == failed
    trainyard("watch", str(again["id"]), status=1)  # which is as endless


def test_ctrl_c_ends_the_watching_and_not_the_job(yard: RunningYard, trainyard: Trainyard) -> None:
    job_id = _submit(trainyard, *_ENDLESS)
    watcher = subprocess.Popen(
        command("watch", str(job_id)),
        cwd=_ROOT,
        env=os.environ | {"TRAINYARD_URL": yard.url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None
    assert f"job {job_id} mlp: " in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    _, errors = watcher.communicate(timeout=_WATCH_SECONDS)
    assert watcher.returncode == 130
    assert f"job {job_id} goes on" in errors
    assert "Traceback" not in errors
    assert _job(trainyard, job_id)["status"] in ("queued", "running")
    trainyard("cancel", str(job_id))


def test_a_queued_job_is_cancelled_at_once(trainyard: Trainyard) -> None:
    job_id = _submit(trainyard, *_SMALL, "--queue", "served-by-nobody", "--priority", "5")
    assert _job(trainyard, job_id)["priority"] == 5
    assert trainyard("cancel", str(job_id)).stdout == f"job {job_id} is cancelled\n"
    assert "cancelled" in trainyard("cancel", str(job_id), status=2).stderr


def test_a_watcher_outlives_the_web_server(
    yard: RunningYard, trainyard: Trainyard, tmp_path: Path
) -> None:
    job_id = _submit(trainyard, *_SMALL, "--set", "epochs=20", "--set", "early_stopping.kind=none")
    output = tmp_path / "watched"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command("watch", str(job_id)),
            cwd=_ROOT,
            env=os.environ | {"TRAINYARD_URL": yard.url, "PYTHONUNBUFFERED": "1"},
            stdout=file,
        ) as watcher,
    ):
        wait_until(lambda: output.stat().st_size > 0, what="the watcher has reached the server")
        wait_until(lambda: _job(trainyard, job_id)["epochs_done"] > 0, 60)
        _kill_web_server(yard)
        assert watcher.wait(_WATCH_SECONDS) == 0
    lines = output.read_text().splitlines()
    epochs = [line.split()[1] for line in lines if line.startswith("epoch")]
    assert [int(epoch.partition("/")[0]) for epoch in epochs] == list(range(1, 21))


def test_the_demo_uses_the_yard_that_serves_its_folder(
    yard: RunningYard, trainyard: Trainyard
) -> None:
    small = ("--set", "train_fraction=0.01", "--set", "epochs=1")
    done = trainyard("demo", *small, "--data-dir", str(yard.data_dir))
    assert f"A yard serves {yard.data_dir} at {yard.url}." in done.stdout
    assert f"Look at it again: {yard.url}/jobs/" in done.stdout
    assert yard.process.poll() is None


def test_the_catalogues_are_listed(yard: RunningYard, trainyard: Trainyard) -> None:
    assert "hello-world" in trainyard("presets").stdout
    assert json.loads(trainyard("presets", "--json").stdout)[0]["spec"]["epochs"] >= 1
    assert "60,000" in trainyard("datasets").stdout
    assert json.loads(trainyard("datasets", "--json").stdout)[0]["name"] == "mnist"
    (worker,) = json.loads(trainyard("workers", "--json").stdout)
    assert worker["name"] in trainyard("workers").stdout


def test_client_commands_import_no_server_library() -> None:
    code = (
        "import sys; from shared.cli.app import run; sys.argv = ['trainyard', 'jobs']; run();"
        "heavy = {'sqlalchemy', 'celery', 'kombu', 'redis', 'alembic', 'flask', 'tensorflow',"
        " 'numpy', 'pandas'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env=os.environ | {"TRAINYARD_URL": f"http://127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert "cannot be reached" in done.stderr


def test_help_imports_neither_the_client_nor_pydantic() -> None:
    code = (
        "import sys; from shared.cli.app import app; app(['--help'], standalone_mode=False);"
        "print(sorted({'httpx', 'pydantic', 'rich', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
