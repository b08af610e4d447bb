"""An S3-compatible artifact store between machines that share no folder: moto's server on loopback.

The web process and the worker have data folders of their own; what one has, the other gets from
database, Redis and bucket alone.
"""

from __future__ import annotations

import http.server
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import httpx
import pytest
from flask.testing import FlaskClient

from shared import artifacts
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.errors import NotFound
from shared.models import Status
from shared.settings import Settings
from tests.faults.proxy import BlackHoleProxy
from tests.history import check_history
from tests.importing import DATASETS, start, wait_over
from tests.parts import process
from tests.s3 import s3_server
from tests.sent_files import digits, idx, npz, zipped
from tests.services import free_port
from tests.waiting import wait_until
from tests.web_client import json_of, serving
from tests.worker_yard import Yard, make_yard
from web import versions

# The library that s3fs stands on starts tasks that it does not wait for.
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


@pytest.fixture(scope="module")
def way_to_store() -> Iterator[BlackHoleProxy]:
    """Serve S3 for the whole file."""
    with s3_server() as way:
        yield way


@pytest.fixture
def bucket(way_to_store: BlackHoleProxy) -> str:
    """Give an empty bucket."""
    name = f"s3://yard-{uuid.uuid4().hex}"
    ArtifactStore(name).make()
    return f"{name}/artifacts"


@pytest.fixture
def yard(bucket: str, service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    settings = service_settings.model_copy(update={"artifacts_url": bucket})
    return make_yard(settings, database, tmp_path)


@pytest.fixture
def web(yard: Yard, tmp_path: Path) -> Iterator[FlaskClient]:
    """Give a web process whose data folder the worker does not see."""
    elsewhere = yard.settings.model_copy(update={"data_dir": tmp_path / "web"})
    with serving(elsewhere, yard.database) as client:
        yield client


def test_files_come_and_go_whole(bucket: str, tmp_path: Path) -> None:
    store = ArtifactStore(bucket)
    local = tmp_path / "file"
    local.write_bytes(b"0123456789")
    store.put(local, "a/one")
    assert store.receive(iter([b"abc", b"def"]), "a/two")[0] == 6
    assert store.ranges("a/one", [(2, 4), (9, 10), (0, 1)]) == [b"23", b"9", b"0"]
    store.get("a/two", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"abcdef"
    with pytest.raises(NotFound):
        store.ranges("a/three", [(0, 1)])
    with pytest.raises(NotFound):
        store.ranges("a/one", [(5, 11)])

    def breaks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.receive(breaks(), "a/four")
    assert not store.exists("a/four")
    assert store.names("a") == ["one", "two"]
    ArtifactStore(bucket).delete("a/one")
    assert store.names("a") == ["two"]
    store.delete("a")
    assert not store.exists("a/two")
    assert store.names("a") == []


class _Stumbling(http.server.BaseHTTPRequestHandler):
    """A store that fails twice, then has every file; it remembers who asked."""

    agents: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        self.send_response(200 if len(self.agents) > 2 else 503)
        self.send_header("Content-Length", "7" if len(self.agents) > 2 else "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_store_that_stumbles_is_asked_again_in_the_operator_s_way(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Stumbling) as server:
        own = {
            "endpoint_url": f"http://127.0.0.1:{server.server_port}",
            "config_kwargs": {"user_agent_extra": "the-operator-s"},
        }
        monkeypatch.setitem(fsspec.config.conf, "s3", own)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert ArtifactStore(bucket).size("a") == 7
        finally:
            server.shutdown()
            thread.join()
    assert all("the-operator-s" in agent for agent in _Stumbling.agents)


@pytest.mark.usefixtures("no_process_left")
def test_a_data_set_goes_from_web_to_worker_and_back_through_the_bucket(
    yard: Yard, web: FlaskClient, tmp_path: Path
) -> None:
    files = {}
    for name, data in (("train", digits(60, classes=10)), ("t10k", digits(20, classes=10))):
        files[f"{name}-images-idx3-ubyte.gz"] = zipped(idx(data["x"][..., 0]))
        files[f"{name}-labels-idx1-ubyte.gz"] = zipped(idx(data["y"]))
    assert yard.settings.data_dir != tmp_path / "web"
    with yard.worker(**{name: os.environ[name] for name in os.environ if "AWS" in name}):
        wait_over(yard, start(web, files))
        detail = json_of(web.get(f"{DATASETS}/flowers"))
        assert (detail["train_images"], detail["test_images"]) == (60, 20)
        assert len(json_of(web.get(f"{DATASETS}/flowers/samples"))["items"]) == 48
        assert web.get("/datasets/flowers").status_code == 200
        yard.open_gate(1)
        job_id = yard.submit(epochs=1, dataset={"name": "flowers"}, batch_size=10)
        yard.wait(job_id, Status.SUCCEEDED)
    assert (yard.settings.dataset_cache_dir / detail["version"][:16]).is_dir()
    assert not (tmp_path / "web" / "datasets").exists()
    check_history(yard.database, yard.store)


@pytest.mark.usefixtures("no_process_left")
def test_a_page_comes_without_its_pictures_while_the_store_is_silent(
    yard: Yard, web: FlaskClient, way_to_store: BlackHoleProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yard.worker(**{name: os.environ[name] for name in os.environ if "AWS" in name}):
        wait_over(yard, start(web, {"a.npz": npz(**digits(30, side=9))}))
    monkeypatch.setattr(versions, "_kept", OrderedDict())  # the same pictures may be known
    way_to_store.open_hole()
    with monkeypatch.context() as impatient:
        impatient.setattr(artifacts, "GLANCE_SECONDS", 0.5)
        page = web.get("/datasets/flowers")
        assert page.status_code == 200
        assert "The pictures are missing." in page.text
        assert "Class balance" in page.text
        assert "data:image" not in page.text
        answer = web.get(f"{DATASETS}/flowers/samples")
        assert answer.status_code == 503
        assert json_of(answer)["detail"].startswith("The artifact store cannot be used: ")
        assert answer.headers["Retry-After"] == "5"
    way_to_store.close_hole()
    # Connections that were open stay dead; each is noticed when it is used.
    wait_until(
        lambda: "data:image" in web.get("/datasets/flowers").text, 60, what="the pictures are back"
    )
    assert "The pictures are missing." not in web.get("/datasets/flowers").text


@pytest.mark.usefixtures("no_process_left")
def test_the_web_server_that_forks_reaches_the_bucket(yard: Yard, tmp_path: Path) -> None:
    port = free_port()
    env = yard.env | {"TRAINYARD_DATA_DIR": str(tmp_path / "web")}
    arguments = ("--port", str(port))
    with (
        process("web", env, tmp_path / "web.log", arguments=arguments),
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client,
    ):
        wait_until(lambda: answers(client), 30, what="the web server answers")
        begun = client.post("/datasets", json={"name": "flowers"}).raise_for_status().json()
        path = f"/imports/{begun['id']}"
        sent = client.put(f"{path}/files/a.csv", content=b"1,2,3")
        assert sent.raise_for_status().json()["files"][0]["bytes"] == 5
        assert client.delete(path).status_code == 204


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/datasets").status_code == 200
    except httpx.TransportError:
        return False
