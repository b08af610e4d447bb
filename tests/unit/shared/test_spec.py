"""The job spec: bounds, presets, merging, and errors that name field, rule and value."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.spec import JobSpec, JobSubmission, parse_submission
from shared.spec.job import merge
from shared.spec.presets import PRESETS


def errors_of(body: Any) -> dict[str, tuple[str, Any]]:
    with pytest.raises(InvalidInput) as caught:
        parse_submission(body)
    return {error.field: (error.rule, error.received) for error in caught.value.errors}


def test_an_empty_submission_is_complete() -> None:
    submission = parse_submission({})

    assert submission.name == "shallow-cnn"
    assert submission.spec == JobSpec()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("epochs", True),
        ("epochs", "5"),
        ("epochs", 5.0),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("resources.max_runtime_seconds", "60"),
    ],
)
def test_a_value_of_another_type_is_refused_not_converted(path: str, value: Any) -> None:
    part, _, name = path.rpartition(".")
    spec = {part: {name: value}} if part else {name: value}
    assert list(errors_of({"spec": spec})) == [f"spec.{path}"]


def test_a_whole_number_is_a_number() -> None:
    assert parse_submission({"spec": {"learning_rate": 1}}).spec.learning_rate == 1.0


def test_hello_world_is_the_tutorial_exactly() -> None:
    spec = PRESETS["hello-world"].spec.model_dump(mode="json")

    assert spec["dataset"] == {"name": "mnist", "version": None}
    assert (spec["train_fraction"], spec["evaluate_on"]) == (1.0, "test")
    assert spec["preprocessing"] == {"scale": "raw", "augmentation": {"kind": "none"}}
    assert spec["model"] == {
        "kind": "shallow_cnn",
        "filters": 28,
        "kernel_size": 3,
        "dense_units": 128,
    }
    assert spec["optimizer"] == {
        "kind": "sgd",
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "clip_norm": None,
    }
    assert (spec["learning_rate"], spec["batch_size"]) == (0.001, 100)
    assert spec["schedule"] == {"kind": "exponential", "rate": 0.9}
    assert spec["early_stopping"] == {"kind": "accuracy_drop"}
    assert spec["precision"] == "float32"


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_is_a_valid_submission_that_keeps_its_name(preset: str) -> None:
    submission = parse_submission({"preset": preset})

    assert submission.name == preset
    assert submission.spec == PRESETS[preset].spec
    assert JobSpec.model_validate(submission.spec.model_dump(mode="json")) == submission.spec


def test_a_spec_changes_its_preset_field_by_field() -> None:
    body = {"preset": "hello-world", "spec": {"epochs": 3, "model": {"filters": 8}}}
    spec = parse_submission(body).spec.model_dump()

    assert (spec["epochs"], spec["model"]["filters"], spec["model"]["dense_units"]) == (3, 8, 128)


def test_another_kind_replaces_the_part_whole() -> None:
    body = {"preset": "hello-world", "spec": {"model": {"kind": "mlp", "hidden_units": [16]}}}

    assert parse_submission(body).spec.model.model_dump() == {
        "kind": "mlp",
        "hidden_units": [16],
        "dropout": 0.0,
    }


def test_merging_changes_neither_argument() -> None:
    base = {"a": {"kind": "x", "n": 1}, "b": 2}
    changes = {"a": {"n": 5}}

    assert merge(base, changes) == {"a": {"kind": "x", "n": 5}, "b": 2}
    assert base == {"a": {"kind": "x", "n": 1}, "b": 2}
    assert changes == {"a": {"n": 5}}


@pytest.mark.parametrize(
    ("spec", "field", "word"),
    [
        ({"bogus": 1}, "spec.bogus", "no such field"),
        ({"learning_rate": -0.1}, "spec.learning_rate", "greater than 0"),
        ({"learning_rate": "fast"}, "spec.learning_rate", "valid number"),
        ({"learning_rate": float("nan")}, "spec.learning_rate", "finite"),
        ({"learning_rate": float("inf")}, "spec.learning_rate", "finite"),
        ({"batch_size": 0}, "spec.batch_size", "greater than or equal to 1"),
        ({"batch_size": 10**9}, "spec.batch_size", "less than or equal to 65536"),
        ({"batch_size": 1.5}, "spec.batch_size", "integer"),
        ({"epochs": 0}, "spec.epochs", "greater than or equal to 1"),
        ({"train_fraction": 0}, "spec.train_fraction", "greater than 0"),
        ({"seed": -1}, "spec.seed", "greater than or equal to 0"),
        ({"evaluate_on": "train"}, "spec.evaluate_on", "'test' or 'validation'"),
        ({"dataset": {"name": "../etc"}}, "spec.dataset.name", "pattern"),
        ({"model": {"kind": "shallow_cnn", "filters": 0}}, "spec.model.filters", "equal to 1"),
        ({"model": {"kind": "mlp", "hidden_units": []}}, "spec.model.hidden_units", "at least 1"),
        ({"model": {"kind": "mlp", "filters": 3}}, "spec.model.filters", "no such field"),
        ({"model": {"kind": "gpt"}}, "spec.model", "shallow_cnn"),
        ({"optimizer": {"kind": "sgd", "momentum": 1}}, "spec.optimizer.momentum", "less than 1"),
        (
            {"early_stopping": {"kind": "patience", "patience": 0}},
            "spec.early_stopping.patience",
            "equal to 1",
        ),
        ({"resources": {"queue": "No Spaces"}}, "spec.resources.queue", "pattern"),
        ({"resources": {"gpus": 17}}, "spec.resources.gpus", "less than or equal to 16"),
    ],
)
def test_a_broken_rule_names_its_field(spec: dict[str, Any], field: str, word: str) -> None:
    errors = errors_of({"spec": spec})

    assert list(errors) == [field]
    assert word in errors[field][0]


def test_every_broken_rule_is_named_at_once_with_what_was_received() -> None:
    errors = errors_of({"nme": "x", "spec": {"epochs": -3, "model": {"kind": "mlp", "dropout": 2}}})

    assert set(errors) == {"nme", "spec.epochs", "spec.model.dropout"}
    assert errors["spec.epochs"][1] == -3
    assert errors["spec.model.dropout"][1] == 2


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert errors_of(body)[""][0] == "The body must be a JSON object."


@pytest.mark.parametrize("preset", ["nope", 3, ["hello-world"]])
def test_an_unknown_preset_is_refused_with_the_known_ones(preset: Any) -> None:
    assert "hello-world" in errors_of({"preset": preset})["preset"][0]


def test_a_spec_that_is_no_object_is_refused_with_a_preset_too() -> None:
    assert list(errors_of({"preset": "adam", "spec": 3})) == ["spec"]


def described_fields(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    parts = {"JobSpec": schema, **schema["$defs"]}
    return [
        (f"{part}.{name}", field)
        for part, definition in parts.items()
        for name, field in definition.get("properties", {}).items()
        if name != "kind"
    ]


def test_every_field_tells_a_person_what_it_is() -> None:
    for where, field in described_fields(JobSpec.model_json_schema()):
        if "$ref" in field or "discriminator" in field:  # a part: its own fields are looked at
            continue
        assert field.get("title"), where
        assert field.get("description"), where


def test_a_submission_has_a_bounded_name_and_tags() -> None:
    errors = errors_of({"name": "", "tags": ["x" * 51], "priority": 101})

    assert set(errors) == {"name", "tags.0", "priority"}
    assert JobSubmission().tags == []
