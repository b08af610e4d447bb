"""Reads docker-compose.yml and its Dockerfiles as Docker would, without Docker.

Owns only what the project's own services use: anchors and merge keys (YAML's), variables, exec
forms, `ENV`, `ENTRYPOINT`, `CMD`. What it does not know it refuses.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
COMPOSE_FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
_DURATION = re.compile(r"(\d+)s")


class VariableMissing(Exception):
    """The compose file demands a variable that is not set."""


@dataclass(frozen=True)
class Container:
    """What Docker would run for one of the project's own services.

    Attributes:
        command: entry point and arguments.
        environment: the Dockerfile's variables and the service's own.
        health_command: what tells whether it is healthy; empty if nothing does.
        stop_grace_seconds: time between SIGTERM and SIGKILL.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    health_command: list[str]
    stop_grace_seconds: float


def read_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the compose file with its variables filled in.

    Raises:
        VariableMissing: one that has no default is not set, or empty.
    """
    document = yaml.safe_load(COMPOSE_FILE.read_text())
    filled: dict[str, Any] = _fill(document, variables)
    return filled


def own_containers(variables: Mapping[str, str]) -> dict[str, Container]:
    """Return the services that are built from this repository, by name."""
    services = read_compose(variables)["services"]
    return {
        name: _container(name, service) for name, service in services.items() if "build" in service
    }


def dockerfile(path: Path) -> dict[str, Any]:
    """Return `ENV`, `ENTRYPOINT`, `CMD` and `USER` of a Dockerfile's last stage."""
    text = re.sub(r"\\\n", " ", path.read_text())
    found: dict[str, Any] = {}
    for line in text.splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            found = {"ENV": {}, "ENTRYPOINT": [], "CMD": []}
        elif keyword in ("ENTRYPOINT", "CMD"):
            found[keyword] = json.loads(rest)  # exec form, or it is no JSON
        elif keyword == "ENV":
            found["ENV"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif keyword == "USER":
            found["USER"] = rest
    return found


def _container(name: str, service: Mapping[str, Any]) -> Container:
    image = dockerfile(ROOT / service["build"]["dockerfile"])
    grace = _DURATION.fullmatch(str(service.get("stop_grace_period", "10s")))
    assert grace is not None
    test = service.get("healthcheck", {}).get("test", ["CMD"])
    assert test[0] == "CMD"
    return Container(
        name=name,
        command=[*image["ENTRYPOINT"], *service.get("command", image["CMD"])],
        environment=image["ENV"] | service["environment"],
        health_command=test[1:],
        stop_grace_seconds=float(grace[1]),
    )


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value_of(match, variables), value)
    return value


def _value_of(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, operator, rest = match.groups()
    value = variables.get(name, "")
    if value == "" and operator == "?":
        raise VariableMissing(f"{name}: {rest}")
    return value if value or operator is None else rest
