"""Fixtures of the web's unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.web_client import serving


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    """Give a client of the web application; there are neither tables nor Redis."""
    with serving(settings) as client:
        yield client
