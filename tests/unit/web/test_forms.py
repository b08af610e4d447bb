"""The form of a new job, as the schema makes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.filters import spec_paths
from shared.spec import parse_submission
from shared.spec.presets import PRESETS
from web import forms
from web.fields import Field
from web.hyperparameters import spec_rows


def spec_of(preset: str) -> dict[str, Any]:
    return PRESETS[preset].spec.model_dump(mode="json")


def every_field(spec: dict[str, Any]) -> Iterator[Field]:
    for section in forms.spec_sections(spec):
        for field in section.fields:
            yield field
            for variant in field.variants:
                yield from variant.fields


def field_of(spec: dict[str, Any], path: str, kind: str | None = None) -> Field:
    for section in forms.spec_sections(spec):
        for field in section.fields:
            if field.path == path:
                return field
            for variant in field.variants:
                for inner in variant.fields:
                    if inner.path == path and kind in (None, variant.kind):
                        return inner
    raise AssertionError(f"There is no field {path}.")


def test_every_field_of_the_spec_is_in_the_form() -> None:
    found = {field.path.removeprefix("spec.") for field in every_field(spec_of("hello-world"))}
    unions = ("model", "optimizer", "schedule", "early_stopping", "preprocessing.augmentation")
    kinds = {f"{name}.kind" for name in unions}
    assert spec_paths() - kinds <= found


def test_every_field_and_kind_is_explained() -> None:
    for field in every_field(spec_of("hello-world")):
        assert field.title
        assert field.description or field.control == "union", field.path
        for variant in field.variants:
            assert variant.description, variant.kind


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_form_of_a_preset_holds_the_presets_values(preset: str) -> None:
    spec = spec_of(preset)
    rebuilt: dict[str, Any] = {}
    for section in forms.spec_sections(spec):
        for field in section.fields:
            chosen = [variant for variant in field.variants if variant.kind == field.value]
            if chosen:
                put(rebuilt, f"{field.path}.kind", field.value)
            for inner in chosen[0].fields if chosen else (field,):
                put(rebuilt, inner.path, inner.value)
    assert rebuilt["spec"] == spec


def test_a_kind_that_is_not_chosen_has_its_own_defaults() -> None:
    spec = spec_of("deep-cnn")
    assert field_of(spec, "spec.model.dense_units", "shallow_cnn").value == 128
    assert field_of(spec, "spec.model.dropout", "mlp").value == 0.0
    assert field_of(spec, "spec.model.dropout", "deep_cnn").value == 0.3


@pytest.mark.parametrize(
    ("path", "bounds"),
    [
        ("spec.epochs", "1 to 10,000"),
        ("spec.learning_rate", "> 0, ≤ 10"),
        ("spec.validation_fraction", "> 0, < 1"),
        ("spec.seed", "from 0"),
        ("spec.evaluate_on", ""),
    ],
)
def test_bounds_read_as_words(path: str, bounds: str) -> None:
    assert field_of(spec_of("hello-world"), path).bounds == bounds


@pytest.mark.parametrize(
    ("control", "value", "text"),
    [
        ("number", 0.1 + 0.2, "0.30000000000000004"),  # no digit that decides a run is lost
        ("number", 1.0, "1"),
        ("integer", 100, "100"),
        ("list", [32, 64], "32, 64"),
        ("number", None, ""),
    ],
)
def test_values_are_shown_exactly(control: str, value: Any, text: str) -> None:
    assert Field("spec.x", "X", "", control, value).text == text


def test_hyperparameters_are_marked_where_they_differ_from_the_preset() -> None:
    spec = parse_submission({"preset": "adam", "spec": {"learning_rate": 0.5}}).spec
    pinned = spec.model_dump(mode="json")
    pinned["dataset"]["version"] = "a" * 64  # the server's doing, not the person's
    rows = spec_rows(pinned, spec_of("adam"))
    assert [row.title for row in rows if row.changed] == ["Learning rate"]
    assert not any(row.changed for row in spec_rows(pinned, None))


def test_what_does_not_apply_is_not_shown() -> None:
    titles = [row.title for row in spec_rows(spec_of("hello-world"), None)]
    assert "Validation share" not in titles
    spec = spec_of("hello-world") | {"evaluate_on": "validation"}
    assert "Validation share" in [row.title for row in spec_rows(spec, None)]


def test_data_in_a_page_cannot_end_its_script() -> None:
    text = forms.as_data({"name": "</script><script>alert(1)</script>"})
    assert "</script" not in text
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>"}


def put(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        target = target.setdefault(name, {})
    target[last] = value
