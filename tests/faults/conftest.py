"""Fixtures of the fault tests: a yard on each kind of database."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.database import Database
from shared.settings import Settings
from tests.worker_yard import Yard, make_yard


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a fresh, migrated database; PostgreSQL in the whole run only."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def yard(
    service_settings: Settings, database: Database, tmp_path: Path, no_process_left: None
) -> Yard:
    """Give a yard; no process may outlive its test."""
    return make_yard(service_settings, database, tmp_path)
