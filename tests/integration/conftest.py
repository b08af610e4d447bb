"""Fixtures of the tests that run against real databases and Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from shared.database import Database
from shared.settings import Settings
from tests.web_client import add_datasets, serving


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[FlaskClient]:
    """Give a client of the web application, without Redis, with the bundled data sets."""
    add_datasets(database)
    with serving(settings, database) as client:
        yield client
