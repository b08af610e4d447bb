"""The API's own description, OpenAPI 3.1, made from the routes and their documentation."""

from __future__ import annotations

import functools
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from web.api import schemas
from web.api.blueprint import Operation, Parameter, bp, documented

_REF = "#/components/schemas/{model}"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_CONVERTER = re.compile(r"<(?:(?P<kind>[a-z]+)(?:\([^)]*\))?:)?(?P<name>\w+)>")
_ALWAYS = (401, 500)
_SENDING = (400, 403, 413, 415)


@bp.get("/openapi.json")
@documented(Operation("This description", "application/json"))
def openapi() -> Any:
    """Return the OpenAPI document."""
    return _document(current_app._get_current_object())  # type: ignore[attr-defined]


@functools.cache
def _document(app: Flask) -> dict[str, Any]:
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(f"{bp.url_prefix}/")]
    views: dict[str, Any] = dict(app.view_functions)
    operations: list[tuple[Rule, Operation]] = [
        (rule, views[rule.endpoint].operation) for rule in rules
    ]
    paths: dict[str, dict[str, Any]] = {}
    shapes = _shapes([operation for _, operation in operations])
    for rule, operation in operations:
        for method in _METHODS:
            if method in (rule.methods or ()):
                path = paths.setdefault(_path(rule), {})
                path[method.lower()] = _describe(app, rule, method, operation, shapes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trainyard", "version": _version(), "license": {"name": "Apache-2.0"}},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": shapes.definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


class _Shapes:
    """JSON schemas of models, by their place in the document."""

    def __init__(self, models: list[type[BaseModel]]) -> None:
        wanted = [(model, "validation") for model in models]
        references, collected = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
        self._references = {model: value for (model, _), value in references.items()}
        self.definitions: dict[str, Any] = collected["$defs"]

    def of(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the reference to a model's schema."""
        return self._references[model]


def _shapes(operations: list[Operation]) -> _Shapes:
    models: list[type[BaseModel]] = [schemas.Problem]
    for operation in operations:
        models += [item for item in (operation.body, operation.response) if _is_model(item)]  # type: ignore[misc]
    return _Shapes(list(dict.fromkeys(models)))


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _path(rule: Rule) -> str:
    return _CONVERTER.sub(r"{\g<name>}", rule.rule)


def _describe(
    app: Flask, rule: Rule, method: str, operation: Operation, shapes: _Shapes
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": rule.endpoint.removeprefix(f"{bp.name}.").strip("_"),
        "summary": operation.summary,
        "description": (app.view_functions[rule.endpoint].__doc__ or "").strip(),
        "tags": [rule.rule.removeprefix(f"{bp.url_prefix}/").split("/")[0]],
        "parameters": [*_path_parameters(rule), *map(_parameter, operation.parameters)],
        "responses": _responses(method, operation, shapes),
    }
    if isinstance(operation.body, str):
        described["requestBody"] = {"required": True, "content": {operation.body: {}}}
    elif operation.body is not None:
        content = {"application/json": {"schema": shapes.of(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    return [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if found["kind"] == "int" else "string"},
        }
        for found in _CONVERTER.finditer(rule.rule)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.schema["type"] == "object":
        described |= {"style": "form", "explode": True}
    return described


def _responses(method: str, operation: Operation, shapes: _Shapes) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": operation.summary}
    if isinstance(operation.response, str):
        answer["content"] = {operation.response: {}}
    elif operation.response is not None:
        schema = shapes.of(operation.response)
        answer["content"] = {"application/json": {"schema": schema}}
    problem = {"application/problem+json": {"schema": shapes.of(schemas.Problem)}}
    statuses = {*_ALWAYS, *operation.errors, *(_SENDING if method != "GET" else ())}
    problems = {str(s): {"description": "Problem", "content": problem} for s in sorted(statuses)}
    return {str(operation.status): answer, **problems}


def _version() -> str:
    try:
        return version("trainyard")
    except PackageNotFoundError:
        return "0"
