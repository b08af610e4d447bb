"""A job that is retried, trained for real: the same curve to the last bit, the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import jobs
from shared.database import Database
from shared.models import Status
from shared.protocol import Epoch as EpochEvent
from shared.protocol import Started
from shared.spec import JobSpec, validate
from tests.interrupted import figures
from tests.small_data import small_mnist
from tests.trainers import Stable
from tests.web_client import add_job, job_values

pytestmark = pytest.mark.training

# Everything that draws from the seed: weights, order, dropout.
CHANGES: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden_units": [32], "dropout": 0.3},
    "optimizer": {"kind": "adam"},
    "preprocessing": {"scale": "unit"},
    "epochs": 3,
    "batch_size": 50,
    "seed": 11,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("data") / "small", train=600, test=200)


def test_a_retry_gives_the_same_curve_and_the_same_weights(
    stable: Stable, data: Path, sqlite_url: str
) -> None:
    database = Database(sqlite_url)
    first = validate(JobSpec, job_values()["spec"] | CHANGES)
    job_id = add_job(database, status=Status.SUCCEEDED, spec=first.model_dump(mode="json"))
    with database.write() as session:
        retried = validate(JobSpec, jobs.retry(session, job_id).spec)
    database.dispose()
    runs = [stable.take() for _ in range(3)]
    others = validate(JobSpec, first.model_dump(mode="json") | {"seed": 12})
    for trainer, spec in zip(runs, (first, retried, others), strict=True):
        trainer.run(spec, data)
    hashes = [trainer.finish().weights_sha256 for trainer in runs]
    curves = [figures(trainer) for trainer in runs]

    assert len(runs[0].all(EpochEvent)) == 3
    assert curves[0] == curves[1]
    assert hashes[0] == hashes[1]
    assert curves[0] != curves[2]  # it is the seed that decides
    assert hashes[0] != hashes[2]
    _check_record(runs[1].all(Started)[0], retried)


def _check_record(started: Started, spec: JobSpec) -> None:
    """Check that the record names all that the numbers depend on."""
    assert {"trainyard", "python", "tensorflow", "keras", "numpy"} <= set(started.versions)
    assert (started.seed, started.precision) == (spec.seed, "float32")
    assert started.dataset_version == "0" * 64
    assert started.machine.processor
    assert started.machine.intra_op_threads >= 1
    assert started.machine.inter_op_threads >= 1
