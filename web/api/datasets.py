"""Data sets: which there are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from shared import catalogue
from shared.errors import NotFound
from shared.models import Dataset, DatasetVersion
from shared.records import dataset_row
from web.api import schemas
from web.api.blueprint import Operation, bp, documented
from web.yard import current_yard


@bp.get("/datasets")
@documented(Operation("List data sets", schemas.Listing[schemas.DatasetRow]))
def datasets() -> Any:
    """Return every data set with its newest version."""
    with current_yard().database.read() as session:
        items = [dataset_row(*row) for row in catalogue.newest(session)]
    return {"items": items, "next_cursor": None}


@bp.get("/datasets/<name>")
@documented(Operation("Look at a data set", schemas.DatasetDetail, errors=(404,)))
def dataset(name: str) -> Any:
    """Return one data set."""
    with current_yard().database.read() as session:
        query = (
            sa.select(Dataset, DatasetVersion)
            .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
            .where(Dataset.name == name)
            .order_by(DatasetVersion.id.desc())
        )
        rows = session.execute(query).all()
    if not rows:
        raise NotFound(f"There is no data set {name!r}.")
    newest = dataset_row(rows[0][0], rows[0][1])
    return newest | {"versions": [version.version for _, version in rows]}
