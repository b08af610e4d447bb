"""What a job can be made of: presets, models, optimizers, schedules, and the schema of it all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

from pydantic import BaseModel

from shared.spec import JobSpec, JobSubmission
from shared.spec.presets import PRESETS
from web.api import schemas
from web.api.blueprint import Operation, bp, documented


@bp.get("/presets")
@documented(Operation("List presets", schemas.Listing[schemas.PresetRow]))
def presets() -> Any:
    """Return the named starting points."""
    return _all(
        {
            "name": name,
            "title": preset.title,
            "description": preset.description,
            "reached": asdict(preset.reached),
            "spec": preset.spec.model_dump(mode="json"),
        }
        for name, preset in PRESETS.items()
    )


@bp.get("/models")
@documented(Operation("List kinds of models", schemas.Listing[schemas.KindRow]))
def models() -> Any:
    """Return the model architectures."""
    return _all(_kinds("model"))


@bp.get("/optimizers")
@documented(Operation("List kinds of optimizers", schemas.Listing[schemas.KindRow]))
def optimizers() -> Any:
    """Return the optimizers."""
    return _all(_kinds("optimizer"))


@bp.get("/schedules")
@documented(Operation("List kinds of learning-rate schedules", schemas.Listing[schemas.KindRow]))
def schedules() -> Any:
    """Return the learning-rate schedules."""
    return _all(_kinds("schedule"))


@bp.get("/schema/job-spec")
@documented(Operation("The JSON schema of a submission, for forms", "application/schema+json"))
def job_schema() -> Any:
    """Return the schema of the body of `POST /jobs`; `spec` is inside it."""
    return JobSubmission.model_json_schema(), {"Content-Type": "application/schema+json"}


def _kinds(field: str) -> Iterator[dict[str, Any]]:
    for kind in get_args(JobSpec.model_fields[field].annotation):
        yield _kind(kind)


def _kind(kind: type[BaseModel]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    properties = _inlined(schema["properties"], schema.get("$defs", {}))
    name = properties.pop("kind")["const"]
    return {
        "kind": name,
        "title": name.replace("_", " "),
        "description": kind.__doc__ or "",
        "fields": [{"name": field, **schema} for field, schema in properties.items()],
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put each definition in the place that refers to it, for the answer has no room for others."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    # A discriminator's mapping refers to definitions too; each of them states its kind anyway.
    return {key: _inlined(item, definitions) for key, item in schema.items() if key != "mapping"}


def _all(items: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": None}
