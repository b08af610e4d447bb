"""Data of one's own, the whole way: sent, imported, looked at, trained on, by command and browser.

Web server, scheduler and worker share a database, a Redis and a bucket (moto's server on loopback),
and no folder. Whatever is sent here is made of bundled MNIST images, or of chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.datasets.bundled import BUNDLED
from shared.settings import Settings
from tests.browser.conftest import OpenPage, Watch, opened_pages, pixels
from tests.history import check_history
from tests.parts import environment, process
from tests.s3 import s3_server
from tests.sent_files import Arrays, digits, idx, npz, pixel_names, table, zipped
from tests.services import PostgresServer, RedisServer, free_port
from tests.waiting import wait_until
from tests.web_client import add_datasets
from tests.yard import trainyard

pytestmark = [
    pytest.mark.training,
    pytest.mark.timeout(300),
    # The library that s3fs stands on starts tasks that it does not wait for.
    pytest.mark.filterwarnings("default::ResourceWarning"),
]

TRAINING_MS = 120_000
SMALL_MLP = {"kind": "mlp", "hidden_units": [8]}


@dataclass
class Machines:
    """What runs: `web` and `worker` are data folders."""

    url: str
    database: Database
    web: Path
    worker: Path

    def ready(self) -> bool:
        """Whether the web server answers, and knows the worker."""
        done = trainyard("workers", environment={"TRAINYARD_URL": self.url})
        return done.returncode == 0 and "w1" in done.stdout

    def command(self, *arguments: str) -> str:
        """Run `trainyard` with these arguments, which must go well; return what it printed."""
        done = trainyard(*arguments, environment={"TRAINYARD_URL": self.url})
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def add(self, name: str, *files: Path) -> dict[str, Any]:
        """Import files, and return what the data set looks like."""
        self.command("datasets", "add", name, *map(str, files))
        return dict(json.loads(self.command("datasets", "show", name, "--json")))

    def train(self, dataset: str, model: dict[str, Any], folder: Path, **spec: Any) -> Any:
        """Train an epoch, and return the job."""
        file = folder / "job.json"
        spec |= {"dataset": {"name": dataset}, "model": model, "epochs": 1}
        file.write_text(json.dumps({"spec": spec}))
        told = self.command("submit", "--file", str(file), "--watch", "--json")
        job = json.loads(told.splitlines()[-1])["data"]
        assert (job["status"], job["epochs_done"]) == ("succeeded", 1), job
        return job


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Give a bucket of an S3 server of its own."""
    with s3_server():
        ArtifactStore("s3://own-data").make()
        yield "s3://own-data/yard"


@pytest.fixture(scope="module")
def machines(
    bucket: str,
    postgres_server: PostgresServer,
    postgres_template: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machines]:
    """Run web server, scheduler and worker, each with a data folder of its own."""
    redis_server.flush()
    folder = tmp_path_factory.mktemp("machines")
    settings = Settings(
        data_dir=folder / "scheduler",
        database_url=postgres_server.create("own_data", template=postgres_template),
        redis_url=redis_server.url,
        artifacts_url=bucket,
    )
    port = free_port()
    parts = {"web": ("--port", str(port)), "worker.scheduler": (), "worker": ()}
    with ExitStack() as stack:
        stack.callback(postgres_server.drop, "own_data")
        database = Database(settings.resolved_database_url)
        stack.callback(database.dispose)
        add_datasets(database)
        for module, arguments in parts.items():
            env = environment(settings, TRAINYARD_DATA_DIR=str(folder / module))
            log = folder / f"{module}.log"
            stack.enter_context(process(module, env, log, arguments=arguments))
        url = f"http://127.0.0.1:{port}"
        running = Machines(url, database, folder / "web", folder / "worker")
        wait_until(running.ready, 60, what="web server and worker are there")
        yield running
        check_history(database, ArtifactStore(bucket))


@pytest.fixture
def open_yard(browser: Browser, machines: Machines, watch: Watch) -> Iterator[OpenPage]:
    """Open pages of the yard."""
    with opened_pages(browser, machines.url, watch) as opener:
        yield opener


@pytest.fixture(scope="module")
def mnist() -> Callable[[str, int], Arrays]:
    """Give what returns the first images of a bundled part."""
    arrays = {name: BUNDLED["mnist"].read(name) for name in ("x_train", "y_train", "x_test")}
    arrays["y_test"] = BUNDLED["mnist"].read("y_test")
    return lambda part, count: {
        "x": arrays[f"x_{part}"][:count],
        "y": arrays[f"y_{part}"][:count],
    }


def test_the_tutorial_s_table_is_imported_shown_and_trained_on_by_command(
    machines: Machines, mnist: Callable[[str, int], Arrays], tmp_path: Path
) -> None:
    files = []
    for part, count in (("train", 600), ("test", 150)):
        images = mnist(part, count)
        files.append(tmp_path / f"mnist_{part}.csv")
        files[-1].write_bytes(table(images, header=pixel_names(images)))
    detail = machines.add("digits", *files)
    assert (detail["train_images"], detail["test_images"]) == (600, 150)
    assert (detail["height"], detail["width"], detail["channels"]) == (28, 28, 1)
    assert detail["classes"] == list("0123456789")
    adam = {"optimizer": {"kind": "adam"}, "learning_rate": 0.003, "batch_size": 20}
    job = machines.train("digits", {"kind": "mlp"}, tmp_path, **adam)
    assert job["dataset_version"] == detail["version"]
    assert job["best_eval_accuracy"] > 0.5  # chance: 0.1
    assert [path.name for path in (machines.worker / "datasets").iterdir() if path.is_dir()] == [
        detail["version"][:16]
    ]
    assert not (machines.web / "datasets").exists()


@pytest.mark.parametrize(
    ("name", "shape", "sent"),
    [
        ("colours", (8, 8, 3), "channels first"),
        ("large", (224, 224, 1), "as they are"),
    ],
)
def test_the_smallest_and_the_largest_images_are_trained_on(
    machines: Machines, name: str, shape: tuple[int, int, int], sent: str, tmp_path: Path
) -> None:
    data = digits(24, side=shape[0], channels=shape[2])
    images = data["x"].transpose(0, 3, 1, 2) if sent == "channels first" else data["x"]
    file = tmp_path / f"{name}.npz"
    file.write_bytes(npz(x=images, y=data["y"]))
    detail = machines.add(name, file)
    assert (detail["height"], detail["width"], detail["channels"]) == shape
    assert detail["train_images"] + detail["test_images"] == 24
    machines.train(name, SMALL_MLP, tmp_path, batch_size=6)


@pytest.mark.browser
def test_files_of_fashion_mnist_s_names_are_imported_looked_at_and_trained_on_in_the_browser(
    machines: Machines,
    open_yard: OpenPage,
    mnist: Callable[[str, int], Arrays],
    tmp_path: Path,
) -> None:
    page = open_yard("/datasets/new")
    page.locator("[data-files]").set_input_files(stand_ins(mnist, tmp_path))
    page.locator('[name="known"][value="fashion_mnist"]').check()
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/datasets/fashion_mnist", timeout=60_000)
    expect(page.get_by_role("heading", name="Fashion-MNIST", level=1)).to_be_visible(timeout=60_000)
    shots = page.locator("[data-shots] img")
    expect(shots).to_have_count(48)
    assert set(shots.evaluate_all("(all) => all.map((one) => one.naturalWidth)")) == {28}
    before = sources(page)
    page.get_by_role("button", name="Draw again").click()
    wait_until(lambda: sources(page) != before, what="other samples are drawn")
    page.get_by_role("button", name="Sandal", exact=True).click()
    expect(page.locator("[data-shots] figcaption").first).to_have_text("Sandal")

    page.get_by_role("link", name="Train on it").click()
    page.wait_for_url("**/jobs/new?*")
    expect(page.locator('[data-path="spec.dataset.name"]')).to_have_value("fashion_mnist")
    page.get_by_label("Name").fill("own-clothes")
    page.locator('[data-path="spec.epochs"]').fill("3")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/jobs/\d+$"))
    expect(page.locator(".status")).to_have_text("Succeeded", timeout=TRAINING_MS)
    assert pixels(page, "accuracy", "ink-eval") > 0
    expect(page.get_by_role("region", name="Confusion matrix")).to_contain_text("Sandal")


def stand_ins(mnist: Callable[[str, int], Arrays], folder: Path) -> list[Path]:
    """Write files as Fashion-MNIST's publishers call theirs; digits stand in for the clothes."""
    paths = []
    for name, part, count in (("train", "train", 500), ("t10k", "test", 100)):
        images = mnist(part, count)
        for kind, array in (("images-idx3", images["x"][..., 0]), ("labels-idx1", images["y"])):
            paths.append(folder / f"{name}-{kind}-ubyte.gz")
            paths[-1].write_bytes(zipped(idx(array)))
    return paths


def sources(page: Page) -> list[str]:
    images = page.locator("[data-shots] img")
    return list(images.evaluate_all("(all) => all.map((one) => one.src)"))
