"""The small parts of the supervisor: delays, statuses, addresses, the lock, the log."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.yard import addresses, redis_server
from shared.yard.lock import FolderLock, FolderTaken, Holder, find_holder
from shared.yard.output import Output
from shared.yard.parts import YardOptions, plan
from shared.yard.processes import describe_status, restart_delay_seconds
from shared.yard.up import check


def test_restarts_wait_twice_as_long_each_time_and_never_longer_than_half_a_minute() -> None:
    assert [restart_delay_seconds(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [
        0.5,
        1.0,
        2.0,
        16.0,
        30.0,
        30.0,
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (3, "ended with status 3"),
        (137, "was ended by SIGKILL"),
        (-15, "was ended by SIGTERM"),
        (255, "ended with status 255"),
    ],
)
def test_an_exit_status_is_put_into_words(status: int, words: str) -> None:
    assert describe_status(status) == words


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_addresses_need_no_token(host: str) -> None:
    check(YardOptions(Settings(), host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "yard.example", ""])
def test_other_addresses_need_an_access_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match="TRAINYARD_ACCESS_TOKEN"):
        check(YardOptions(Settings(), host=host))
    check(YardOptions(Settings(access_token=SecretStr("long-and-secret")), host=host))


def test_a_redis_port_without_embedded_redis_is_refused() -> None:
    settings = Settings(redis_url="redis://127.0.0.1:6379")
    with pytest.raises(ConfigurationError, match="--redis-port"):
        check(YardOptions(settings, redis_port=7000))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://127.0.0.1:80"),
    ],
)
def test_the_address_shown_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    assert addresses.url_of(host, 80) == url


def test_a_taken_port_is_refused_by_number_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} on 127.0.0.1 is taken"):
            addresses.require_free_port("127.0.0.1", port)
    addresses.require_free_port("127.0.0.1", port)


def test_an_address_of_nobody_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"'no\.such\.host\.invalid'"):
        addresses.require_free_port("no.such.host.invalid", 8080)


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    lock = FolderLock.take(tmp_path, patience_seconds=0)
    lock.announce(Holder(os.getpid(), "http://127.0.0.1:8080"))
    assert find_holder(tmp_path) == Holder(os.getpid(), "http://127.0.0.1:8080")
    with pytest.raises(
        FolderTaken, match=f"process {os.getpid()}, http://127.0.0.1:8080"
    ) as caught:
        FolderLock.take(tmp_path, patience_seconds=60)
    assert caught.value.holder == Holder(os.getpid(), "http://127.0.0.1:8080")
    lock.release()
    assert find_holder(tmp_path) is None
    FolderLock.take(tmp_path, patience_seconds=0).release()


def test_a_holder_that_is_dead_is_waited_for(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock = FolderLock.take(tmp_path, patience_seconds=0)
    lock.announce(Holder(dead.pid, "http://127.0.0.1:8080"))
    with pytest.raises(FolderTaken):
        FolderLock.take(tmp_path, patience_seconds=0)
    threading.Timer(0.1, lock.release).start()
    FolderLock.take(tmp_path, patience_seconds=10).release()


def test_no_folder_has_no_holder(tmp_path: Path) -> None:
    assert find_holder(tmp_path / "none") is None


def test_a_socket_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    redis_server.prepare_folders(settings)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(ConfigurationError, match="must belong to the user"):
        redis_server.prepare_folders(settings)


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="must belong to the user"):
        redis_server.prepare_folders(Settings(data_dir=tmp_path))


def test_an_external_redis_is_used_and_none_started() -> None:
    options = YardOptions(Settings(redis_url="redis://127.0.0.1:6379"))
    assert plan(options).redis is None


def test_workers_have_names_of_their_own_only_where_there_are_several() -> None:
    def names(count: int) -> list[tuple[str, str]]:
        options = YardOptions(Settings(worker_name="box"), workers=count)
        return [
            (part.name, part.environment["TRAINYARD_WORKER_NAME"]) for part in plan(options).workers
        ]

    assert names(0) == []
    assert names(1) == [("worker", "box")]
    assert names(2) == [("worker-1", "box-1"), ("worker-2", "box-2")]


def test_parts_import_this_code_and_nothing_from_the_current_folder() -> None:
    environment = plan(YardOptions(Settings())).web.environment
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(Path(__file__).parents[3])


def test_a_terminal_that_stands_still_holds_nothing_up(tmp_path: Path) -> None:
    stands_still = threading.Event()

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            stands_still.wait(30)
            return super().write(text)

    terminal = Terminal()
    output = Output(tmp_path, lambda: terminal)
    for number in range(12_000):
        output.line("web", f"line {number}")
    assert (tmp_path / "web.log").read_text().splitlines()[-1].endswith("line 11999")
    stands_still.set()
    output.close()


def test_a_terminal_that_is_gone_holds_nothing_up(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    terminal = Terminal()
    output = Output(tmp_path, lambda: terminal)
    output.line("web", "first")
    output.line("web", "second")
    output.close()
    assert len((tmp_path / "web.log").read_text().splitlines()) == 2


def test_only_the_yards_own_words_can_be_asked_for(tmp_path: Path) -> None:
    terminal = io.StringIO()
    output = Output(tmp_path, lambda: terminal, only_own_words=True)
    output.line("web", "a request")
    output.say("ready")
    output.close()
    assert terminal.getvalue() == "yard       | ready\n"
    assert "a request" in (tmp_path / "web.log").read_text()


def test_log_files_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.yard.output._LOG_BYTES", 1000)
    output = Output(tmp_path, None)
    for number in range(100):
        output.line("web", f"line {number:03} " + "x" * 50)
    output.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "web.log",
        "web.log.1",
        "web.log.2",
        "web.log.3",
    ]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
