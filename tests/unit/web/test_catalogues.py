"""What a job can be made of, straight from the spec's schema."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from shared.spec import JobSpec
from shared.spec.presets import PRESETS
from tests.web_client import json_of


def test_presets_are_complete_specs(client: FlaskClient) -> None:
    items = json_of(client.get("/api/v1/presets"))["items"]
    assert [item["name"] for item in items] == list(PRESETS)
    for item in items:
        assert JobSpec.model_validate(item["spec"]) == PRESETS[item["name"]].spec
        assert item["title"]
        assert item["description"]


@pytest.mark.parametrize(
    ("path", "field", "kinds"),
    [
        (
            "models",
            "model",
            {"shallow_cnn", "lenet5", "resnet20", "resnet50", "vgg16", "layers", "plugin"},
        ),
        ("optimizers", "optimizer", {"sgd", "adam", "adamw", "rmsprop"}),
        (
            "schedules",
            "schedule",
            {"constant", "exponential", "step", "cosine", "warmup_cosine", "one_cycle", "plateau"},
        ),
    ],
)
def test_every_kind_can_be_used_with_its_defaults(
    client: FlaskClient, path: str, field: str, kinds: set[str]
) -> None:
    items = json_of(client.get(f"/api/v1/{path}"))["items"]
    assert {item["kind"] for item in items} >= kinds
    for item in items:
        assert item["description"]
        values = {one["name"]: one["default"] for one in item["fields"] if "default" in one}
        if item["kind"] == "plugin":
            values["name"] = "mine"  # the only field that has to be given
        JobSpec.model_validate({field: {"kind": item["kind"], **values}})


def test_a_list_of_layers_says_which_layers_there_are(client: FlaskClient) -> None:
    answer = client.get("/api/v1/models")
    assert "$ref" not in answer.text
    item = next(item for item in json_of(answer)["items"] if item["kind"] == "layers")
    (layers,) = item["fields"]
    kinds = {layer["properties"]["kind"]["const"]: layer for layer in layers["items"]["oneOf"]}
    assert {"conv", "pool", "dense"} <= set(kinds)
    assert kinds["dense"]["properties"]["units"]["default"] == 128


def test_fields_say_what_they_allow(client: FlaskClient) -> None:
    items = json_of(client.get("/api/v1/models"))["items"]
    shallow = next(item for item in items if item["kind"] == "shallow_cnn")
    filters = next(field for field in shallow["fields"] if field["name"] == "filters")
    assert filters["default"] == 28
    assert filters["minimum"] == 1
    assert filters["title"] == "Filters"
    assert "tutorial" in filters["description"]


def test_the_schema_for_forms_is_a_json_schema(client: FlaskClient) -> None:
    answer = client.get("/api/v1/schema/job-spec")
    assert answer.mimetype == "application/schema+json"
    schema = json_of(answer)
    assert schema["properties"]["spec"]["$ref"] == "#/$defs/JobSpec"
    assert "learning_rate" in schema["$defs"]["JobSpec"]["properties"]
