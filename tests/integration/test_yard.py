"""The supervisor of the yard, with a real Redis and stand-ins for the other parts.

However the supervisor ends, no process is left (`no_process_left` looks), and whoever needs
another part ends before it.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.services import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_process_left")

_ROOT = Path(__file__).parents[2]


class _Yard:
    """A running supervisor with its stand-ins."""

    def __init__(self, data_dir: Path, port: int, behaviours: tuple[str, ...]) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.port = port
        self.console_path = data_dir / f"console-{port}"
        with self.console_path.open("wb") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.stand_ins", str(data_dir), str(port), *behaviours],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    @property
    def console(self) -> str:
        return self.console_path.read_text(errors="replace")

    @property
    def diary(self) -> list[str]:
        path = self.data_dir / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.console, 20, what=f"{text!r} in:\n{self.console}")

    def ready(self) -> _Yard:
        self.says(f"ready at http://127.0.0.1:{self.port}")
        return self

    def pid_of(self, part: str) -> int:
        """Return the id of the part's newest process; the yard may be ready before it starts."""

        def starts() -> list[str]:
            return [line for line in self.diary if line.startswith(f"{part} starts ")]

        wait_until(lambda: bool(starts()), 10, what=f"{part} starts")
        return int(starts()[-1].split()[-1])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


StartYard = Callable[..., _Yard]


@pytest.fixture
def start_yard(tmp_path: Path) -> Iterator[StartYard]:
    started: list[_Yard] = []

    def start(*behaviours: str, folder: str = "var", port: int = 0) -> _Yard:
        started.append(_Yard(tmp_path / folder, port or free_port(), behaviours))
        return started[-1]

    yield start
    for yard in started:
        if yard.process.poll() is None:
            yard.process.terminate()
            yard.process.wait(20)


def _redis_process(yard: _Yard) -> psutil.Process:
    client = redis.Redis(unix_socket_path=str(yard.data_dir / "redis" / "redis.sock"))
    with client:
        return psutil.Process(client.info("server")["process_id"])


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # nobody's parent has noticed yet
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_parts_in_order_and_cleanly(
    start_yard: StartYard, number: signal.Signals
) -> None:
    yard = start_yard().ready()
    for part in ("web", "scheduler", "worker"):
        yard.pid_of(part)  # from then on it writes down how it ends
    assert yard.end(number) == 0
    ends = [line for line in yard.diary if "ends" in line]
    assert ends[0] == "worker ends with redis"
    assert sorted(ends[1:]) == ["scheduler ends with redis", "web ends with redis"]
    assert "yard       | stopped" in yard.console
    assert not (yard.data_dir / "redis" / "redis.sock").exists()


def test_a_killed_supervisor_leaves_no_process_and_redis_ends_last(start_yard: StartYard) -> None:
    yard = start_yard("slow-worker").ready()
    yard.end(signal.SIGKILL)
    wait_until(lambda: "worker ends with redis" in yard.diary, 10)
    assert "handing back 4" in (yard.data_dir / "logs" / "worker.log").read_text()


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_the_supervisor_may_be_ended_at_any_moment_of_its_start(
    start_yard: StartYard, signal_number: signal.Signals
) -> None:
    for number, moment in enumerate(["", "migrating", "web starts", "worker starts"]):
        yard = start_yard(folder=f"var{number}")
        wait_until(lambda m=moment, y=yard: m in y.console + "\n".join(y.diary), 20)  # type: ignore[misc]
        yard.end(signal_number)


def test_a_stubborn_part_is_killed_after_its_grace(start_yard: StartYard) -> None:
    yard = start_yard("stubborn-worker").ready()
    assert yard.end(signal.SIGINT) == 0
    assert "worker did not end in 3 s: killed" in yard.console


def test_a_stubborn_part_of_a_killed_supervisor_is_killed_too(start_yard: StartYard) -> None:
    yard = start_yard("stubborn-worker").ready()
    worker = psutil.Process(yard.pid_of("worker"))
    yard.end(signal.SIGKILL)
    wait_until(lambda: _gone(worker), 10)


def test_a_second_signal_skips_the_grace(start_yard: StartYard) -> None:
    yard = start_yard("stubborn-worker").ready()
    yard.process.send_signal(signal.SIGINT)
    yard.says("stopping")
    assert yard.end(signal.SIGINT) == 0
    assert "did not end in" not in yard.console


def test_a_part_that_dies_is_started_again_and_its_leftovers_are_swept_up(
    start_yard: StartYard,
) -> None:
    yard = start_yard().ready()
    first = psutil.Process(yard.pid_of("worker"))
    (leftover,) = first.children()
    first.kill()
    yard.says("worker was ended by SIGKILL; starting it again in 0.5 s")
    wait_until(lambda: yard.pid_of("worker") != first.pid, 10)
    wait_until(lambda: _gone(leftover), 10)


def test_a_part_survives_the_death_of_its_wrapper_only_by_a_restart(start_yard: StartYard) -> None:
    yard = start_yard().ready()
    first = psutil.Process(yard.pid_of("scheduler"))
    wrapper = first.parent()
    assert wrapper is not None
    wrapper.kill()
    wait_until(lambda: yard.pid_of("scheduler") != first.pid, 10)
    wait_until(lambda: _gone(first), 10)


def test_redis_is_started_again_with_what_it_held(start_yard: StartYard) -> None:
    yard = start_yard().ready()
    socket_path = str(yard.data_dir / "redis" / "redis.sock")
    with redis.Redis(unix_socket_path=socket_path) as client:
        client.rpush("waiting", "a message")
        client.execute_command("WAITAOF", 1, 0, 5000)
        _redis_process(yard).kill()

        def answers() -> bool:
            try:
                return list(client.lrange("waiting", 0, -1)) == [b"a message"]
            except redis.ConnectionError:
                return False

        wait_until(answers, 10)


def test_a_part_that_never_comes_up_ends_the_yard_and_shows_its_last_words(
    start_yard: StartYard,
) -> None:
    yard = start_yard("dying-web")
    assert yard.process.wait(20) == 1
    assert "web does not come up: it ended 3 times" in yard.console
    assert "\n  no templates" in yard.console


def test_failing_migrations_end_the_yard(start_yard: StartYard) -> None:
    yard = start_yard("failing-migrations")
    assert yard.process.wait(20) == 1
    assert "database does not come up: it ended with status 1" in yard.console
    assert not any(line.startswith(("worker starts", "scheduler starts")) for line in yard.diary)


def test_a_second_yard_in_the_same_folder_is_refused_and_names_the_first(
    start_yard: StartYard,
) -> None:
    first = start_yard().ready()
    second = start_yard()
    assert second.process.wait(20) == 1
    assert re.search(
        rf"Another yard \(process {first.process.pid}, http://127\.0\.0\.1:{first.port}\) runs",
        second.console,
    )
    assert first.process.poll() is None


def test_a_yard_waits_for_the_parts_of_a_killed_one(start_yard: StartYard) -> None:
    first = start_yard("slow-worker").ready()
    killed = first.pid_of("worker")
    first.end(signal.SIGKILL)
    second = start_yard()
    second.ready()
    wait_until(lambda: second.pid_of("worker") != killed, what="its own worker says so")
    assert second.diary.index("worker ends with redis") < second.diary.index(
        f"worker starts {second.pid_of('worker')}"
    )


def test_a_taken_port_is_named(start_yard: StartYard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        yard = start_yard(port=port)
        assert yard.process.wait(20) == 1
    assert f"Port {port} on 127.0.0.1 is taken by another program." in yard.console
    assert "--port" in yard.console


def test_the_embedded_redis_is_private_and_refuses_to_forget(start_yard: StartYard) -> None:
    yard = start_yard().ready()
    folder = yard.data_dir / "redis"
    assert folder.stat().st_mode & 0o777 == 0o700
    with redis.Redis(unix_socket_path=str(folder / "redis.sock")) as client:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    listening = {
        connection.laddr.port
        for connection in _redis_process(yard).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == set()


def test_lines_are_prefixed_on_the_console_and_dated_in_the_log_files(
    start_yard: StartYard,
) -> None:
    yard = start_yard().ready()
    yard.end(signal.SIGINT)
    assert "database   | migrating\n" in yard.console
    assert "redis      |" not in yard.console
    log = (yard.data_dir / "logs" / "database.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} migrating\n", log)
    assert (
        "ready to accept connections" in (yard.data_dir / "logs" / "redis.log").read_text().lower()
    )


def test_a_data_folder_may_have_a_long_name_with_spaces_and_quotes(
    start_yard: StartYard,
) -> None:
    yard = start_yard(folder='it\'s "my" yard ' + "x" * 90).ready()
    assert yard.end(signal.SIGTERM) == 0
