"""Data sets from the command line to a trained model: a real yard, colour images, real training."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sent_files import digits, picture, table
from tests.yard import RunningYard, running_yard
from tests.yard import trainyard as run_trainyard

pytestmark = pytest.mark.training

Trainyard = Callable[..., subprocess.CompletedProcess[str]]

HEIGHT, WIDTH = 16, 24


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with running_yard(tmp_path_factory.mktemp("datasets") / "var") as yard:
        yield yard


@pytest.fixture(scope="module")
def trainyard(yard: RunningYard) -> Trainyard:
    def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_trainyard(*arguments, environment={"TRAINYARD_URL": yard.url})
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="module")
def flowers(trainyard: Trainyard, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the name of a data set of colour pictures, sent as a folder: roses are red."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(1)
    for name, colour in (
        ("rose", (200, 40, 60)),
        ("violet", (90, 60, 200)),
        ("leaf", (60, 180, 70)),
    ):
        (folder / name).mkdir()
        for place in range(60):
            pixels = noise.normal(colour, 50, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
            (folder / name / f"{place}.png").write_bytes(picture(pixels))
    done = trainyard("datasets", "add", "flowers", str(folder), "--title", "Flowers")
    assert "36 of 180 images are held back for testing" in done.stdout
    assert "16 x 24 x 3, 0 to 255" in done.stdout
    assert "ok: No image occurs twice." in done.stdout
    return "flowers"


def page(yard: RunningYard, path: str) -> str:
    with urllib.request.urlopen(f"{yard.url}{path}", timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "mlp"},
        {"kind": "shallow_cnn", "filters": 8, "dense_units": 16},
        {"kind": "resnet20"},
        {
            "kind": "layers",
            "layers": [{"kind": "conv", "filters": 4}, {"kind": "global_pool"}],
        },
    ],
    ids=["mlp", "shallow_cnn", "resnet20", "layers"],
)
def test_colour_images_of_any_shape_are_trained_on(
    yard: RunningYard, trainyard: Trainyard, flowers: str, model: dict[str, Any], tmp_path: Path
) -> None:
    body = {
        "spec": {
            "dataset": {"name": flowers},
            "model": model,
            "epochs": 4,
            "batch_size": 16,
            "optimizer": {"kind": "adam"},
            "learning_rate": 0.01,
            "early_stopping": {"kind": "none"},
        }
    }
    file = tmp_path / "job.json"
    file.write_text(json.dumps(body))
    done = trainyard("submit", "--file", str(file), "--watch", "--json")
    job = json.loads(done.stdout.splitlines()[-1])["data"]
    assert job["status"] == "succeeded"
    assert job["best_eval_accuracy"] > 0.8 or model["kind"] == "resnet20"
    shown = page(yard, f"/jobs/{job['id']}")
    assert "flowers" in shown
    detail = json.loads(trainyard("datasets", "show", flowers, "--json").stdout)
    assert job["dataset_version"] == detail["version"]


def test_its_pages_show_it(yard: RunningYard, flowers: str) -> None:
    assert "Flowers" in page(yard, "/datasets")
    shown = page(yard, f"/datasets/{flowers}")
    assert "16 × 24 × 3" in shown
    assert "violet" in shown
    assert f'<option value="{flowers}" selected>' in page(yard, f"/jobs/new?dataset={flowers}")


def test_the_same_content_is_recognised_and_a_new_version_is_the_newest(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_bytes(table(digits(40)))
    second.write_bytes(table(digits(50)))
    trainyard("datasets", "add", "digits", str(first))
    again = trainyard("datasets", "add", "digits", str(first))
    assert "digits had this content before" in again.stdout
    other = trainyard("datasets", "add", "copies", str(first))
    assert "The same content as digits." in other.stdout
    trainyard("datasets", "add", "digits", "--train", str(second), "--test", str(first))
    detail = json.loads(trainyard("datasets", "show", "digits", "--json").stdout)
    assert (detail["train_images"], detail["test_images"]) == (50, 40)
    assert len(detail["versions"]) == 2
    listed = json.loads(trainyard("datasets", "--json").stdout)
    assert {"mnist", "digits", "copies"} <= {row["name"] for row in listed}
    trainyard("datasets", "delete", "copies", "--yes")
    assert "copies" not in trainyard("datasets").stdout
    assert (
        "There is no data set 'copies'" in trainyard("datasets", "show", "copies", status=2).stderr
    )


def test_a_bad_file_gives_exit_status_1_and_names_the_cell(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    def spoil(rows: list[list[Any]]) -> None:
        rows[4][7] = 999

    bad = tmp_path / "bad.csv"
    bad.write_bytes(table(digits(40), change=spoil))
    done = trainyard("datasets", "add", "bad", str(bad), status=1)
    assert "bad.csv, row 5, column 8: A pixel must be a whole number from 0 to 255." in done.stderr
    assert "Received: 999." in done.stderr
    assert "bad" not in trainyard("datasets").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "Bad Name", "x"), "does not exist"),
        (("add", "new", "--known", "kmnist"), "name: Must not be 'new'"),
        (("add", "nothing_known"), "known: Must be one of: fashion_mnist"),
        (("add", "kmnist", "--set", "height=3"), "options.height"),
        (("add", "mnist", "--known", "kmnist"), "stays as it is"),
        (("delete", "mnist", "--yes"), "stays as it is"),
    ],
)
def test_wrong_usage_gives_exit_status_2(
    trainyard: Trainyard, arguments: tuple[str, ...], words: str
) -> None:
    assert words in trainyard("datasets", *arguments, status=2).stderr


def test_public_sets_are_listed(trainyard: Trainyard) -> None:
    assert "Fashion-MNIST" in trainyard("datasets", "known").stdout
