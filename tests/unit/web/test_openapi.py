"""The API describes itself: every route, in a document that holds together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web_client import json_of

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json_of(answer)
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    scheme = document["components"]["securitySchemes"]["token"]
    assert scheme == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{"token": []}]


def test_every_route_of_the_api_is_in_it(client: FlaskClient, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:[^:>]*:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
        for method in rule.methods or ()
        if method.lower() in METHODS
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert len(routes) >= 25


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in document["components"]["schemas"]


def test_every_operation_is_complete(document: dict[str, Any]) -> None:
    names = []
    for path, method, operation in operations(document):
        assert method in METHODS
        assert operation["summary"]
        names.append(operation["operationId"])
        successes = [code for code in operation["responses"] if code.startswith("2")]
        assert len(successes) == 1, path
        assert all(re.fullmatch(r"\d{3}", code) for code in operation["responses"])
        assert all("description" in answer for answer in operation["responses"].values())
        given = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path))
        for parameter in operation["parameters"]:
            assert parameter["in"] in ("path", "query", "header")
            assert "type" in parameter["schema"]
    assert len(names) == len(set(names))


def test_what_changes_something_says_so(document: dict[str, Any]) -> None:
    submit = document["paths"]["/api/v1/jobs"]["post"]
    body = submit["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/JobSubmission"}
    assert {"201", "400", "415", "422"} <= set(submit["responses"])
    assert "Idempotency-Key" in {item["name"] for item in submit["parameters"]}


def test_problems_are_documented_as_problems(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        for code, answer in operation["responses"].items():
            if code >= "400":
                assert set(answer["content"]) == {"application/problem+json"}
