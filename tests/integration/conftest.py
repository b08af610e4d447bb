"""Fixtures of the tests that run against real databases, Redis and trainers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shared.database import Database
from shared.datasets.cache import materialise
from shared.settings import Settings
from tests.web_client import add_datasets, serving


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[FlaskClient]:
    """Give a client of the web application, without Redis, with the bundled data sets."""
    add_datasets(database)
    with serving(settings, database) as client:
        yield client


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of MNIST that trainers read; no test may change it."""
    return materialise("mnist", tmp_path_factory.mktemp("datasets"))
