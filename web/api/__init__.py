"""The HTTP API, `/api/v1`: one module for each resource, all on one blueprint.

Views validate at the edge, call `shared`, and return JSON-compatible values; errors are raised
and become the envelope in `web.errors`.
"""

from web.api import (
    artifacts,
    catalogues,
    control,
    datasets,
    history,
    imports,
    jobs,
    logs,
    openapi,
    preflights,
    streams,
    workers,
)
from web.api.blueprint import bp

__all__ = [
    "artifacts",
    "bp",
    "catalogues",
    "control",
    "datasets",
    "history",
    "imports",
    "jobs",
    "logs",
    "openapi",
    "preflights",
    "streams",
    "workers",
]
