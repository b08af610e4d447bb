"""The compose file: no default secret, nothing open by accident, time to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from tests.compose import ROOT, VariableMissing, dockerfile, own_containers, read_compose

SECRETS = {
    "TRAINYARD_ACCESS_TOKEN": "token",
    "TRAINYARD_SECRET_KEY": "key",
    "TRAINYARD_DATABASE_PASSWORD": "password",
}
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = read_compose(SECRETS)["services"]
    return services


@pytest.mark.parametrize("secret", SECRETS)
def test_a_missing_or_empty_secret_is_refused_by_name(secret: str) -> None:
    with pytest.raises(VariableMissing, match=secret):
        read_compose(SECRETS | {secret: ""})


def test_only_the_web_server_is_published_and_only_on_this_machine(
    services: dict[str, Any],
) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:8080:8080"]}


def test_only_the_web_server_knows_the_access_token() -> None:
    knowing = {
        name
        for name, container in own_containers(SECRETS).items()
        if "TRAINYARD_ACCESS_TOKEN" in container.environment
    }
    assert knowing == {"web"}


def test_a_worker_has_longer_to_stop_than_it_asks_for() -> None:
    containers = own_containers(SECRETS)
    grace_seconds = float(containers["worker"].environment["TRAINYARD_GRACE_SECONDS"])
    assert grace_seconds == Settings.model_fields["grace_seconds"].default
    for name in ("worker", "worker-gpu"):
        assert containers[name].stop_grace_seconds > grace_seconds + 10


def test_every_variable_for_trainyard_is_a_setting() -> None:
    known = {f"TRAINYARD_{name.upper()}" for name in Settings.model_fields}
    for container in own_containers(SECRETS).values():
        ours = {name for name in container.environment if name.startswith("TRAINYARD_")}
        assert ours <= known, container.name


def test_redis_never_forgets_a_message_to_make_room(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_the_gpu_worker_is_asked_for_by_its_profile_and_reserves_gpus(
    services: dict[str, Any],
) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert {name for name, asked in profiles.items() if asked} == {"worker-gpu"}
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]


def test_services_wait_for_what_they_need_and_web_and_workers_share_the_artifacts(
    services: dict[str, Any],
) -> None:
    for name in ("web", "scheduler", "worker", "worker-gpu"):
        conditions = {
            need: item["condition"] for need, item in services[name]["depends_on"].items()
        }
        assert conditions == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }
    for name in ("web", "worker", "worker-gpu"):
        assert services[name]["volumes"] == ["artifacts:/artifacts"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_as_an_ordinary_user_from_locked_requirements(path: Path) -> None:
    assert dockerfile(path)["USER"] == "trainyard"
    assert dockerfile(path)["ENTRYPOINT"] == ["trainyard"]
    text = path.read_text()
    assert text.count("pip install") == text.count("--require-hashes") + text.count("--no-deps /")


def test_the_web_image_has_no_tensorflow() -> None:
    assert "requirements/web.txt" in (ROOT / "deploy/web.Dockerfile").read_text()
    assert "\ntensorflow==" not in (ROOT / "requirements/web.txt").read_text()
    assert "\ntensorflow==" in (ROOT / "requirements/worker.txt").read_text()


@pytest.mark.parametrize("purpose", ["dev", "web", "worker", "worker-gpu", "build"])
def test_a_lock_holds_hashes_and_no_registry(purpose: str) -> None:
    lines = (ROOT / "requirements" / f"{purpose}.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith(" ")]
    assert pins
    assert all(line.endswith("\\") and "==" in line for line in pins)
    assert all("--hash=sha256:" in line for line in lines if line.startswith(" "))
    assert not any("://" in line for line in lines)
