"""The parts of the yard: what each runs, in which environment, and how long it may take to end."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.settings import Settings
from shared.yard import redis_server
from shared.yard.processes import Part

_SERVER_STOP_SECONDS = 5.0
_REDIS_STOP_SECONDS = 10.0
# Above the worker's own grace, so that it always gets to hand its jobs back.
_WORKER_STOP_MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class YardOptions:
    """What `trainyard up` was asked for.

    Attributes:
        settings: the configuration of all parts.
        host: address that the web server binds to.
        port: its port.
        workers: worker processes.
        redis_port: TCP port of the embedded Redis on loopback; 0: its Unix socket only.
    """

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    redis_port: int = 0


@dataclass(frozen=True)
class Plan:
    """The parts of one yard, in the order in which they need each other.

    Attributes:
        redis: the embedded Redis; None where another one is used.
        migrations: the step that brings the database up to date.
        web: the web server, which looks at the database only when it is asked something.
        scheduler: the scheduler.
        workers: the workers.
    """

    redis: Part | None
    migrations: Part
    web: Part
    scheduler: Part
    workers: list[Part]


def plan(options: YardOptions) -> Plan:
    """Return the parts that `options` ask for.

    Raises:
        ConfigurationError: a Redis is needed, and there is none.
    """
    web = ["web", "--host", options.host, "--port", str(options.port)]
    return Plan(
        redis=None if options.settings.redis_url else _redis(options),
        migrations=_python(options, "database", ["shared.cli", "db", "upgrade"]),
        web=_python(options, "web", web),
        scheduler=_python(options, "scheduler", ["worker.scheduler"]),
        workers=[_worker(options, number) for number in range(1, options.workers + 1)],
    )


def _redis(options: YardOptions) -> Part:
    program = redis_server.find_program()
    return Part(
        name="redis",
        command=redis_server.command(options.settings, program, options.redis_port),
        environment=dict(os.environ),
        stop_seconds=_REDIS_STOP_SECONDS,
        quiet=True,
    )


def _worker(options: YardOptions, number: int) -> Part:
    """Return a worker; only where there are several does a number follow its name."""
    settings = options.settings
    alone = options.workers == 1
    name = settings.worker_name if alone else f"{settings.worker_name}-{number}"
    return _python(
        options,
        "worker" if alone else f"worker-{number}",
        ["worker"],
        settings.grace_seconds + _WORKER_STOP_MARGIN_SECONDS,
        {"TRAINYARD_WORKER_NAME": name},
    )


def _python(
    options: YardOptions,
    name: str,
    module: list[str],
    stop_seconds: float = _SERVER_STOP_SECONDS,
    extra: Mapping[str, str] | None = None,
) -> Part:
    environment = dict(os.environ) | python_environment() | dict(extra or {})
    environment["TRAINYARD_DATA_DIR"] = str(options.settings.data_dir)
    return Part(
        name=name,
        command=[sys.executable, "-m", *module],
        environment=environment,
        stop_seconds=stop_seconds,
    )


def python_environment() -> dict[str, str]:
    """Return the variables by which a program imports this very code, from whatever folder.

    Without the safe path, a folder `web` in the user's current folder would shadow ours.
    """
    variables = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    root = Path(__file__).resolve().parents[2]
    if str(root) not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        inherited = os.environ.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join([str(root), *([inherited] if inherited else [])])
    return variables
