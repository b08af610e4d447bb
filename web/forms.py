"""The form of a new job, made from the JSON schema of `JobSubmission`.

Owns the way from schema to fields, for the form and for the job page's list of hyperparameters.
Must not validate: `POST /api/v1/jobs` does, and the page shows its errors beside their fields.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from shared import jobs
from shared.errors import NotFound
from shared.spec.job import JobSpec, JobSubmission
from shared.spec.presets import PRESETS
from web.present import kind_name

# Which part of the form a part of the spec stands in. What is not named here, such as a field
# added later, stands in the last section.
SECTIONS = {
    "Data": (
        "dataset",
        "train_fraction",
        "evaluate_on",
        "validation_fraction",
        "preprocessing",
    ),
    "Model": ("model",),
    "Training": (
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "schedule",
        "optimizer",
        "early_stopping",
        "precision",
    ),
    "Where it runs": ("resources",),
}
# Fields that mean nothing unless another has a certain value.
SHOWN_WHEN = {"spec.validation_fraction": ("spec.evaluate_on", "validation")}
# How a condensed value reads for a field that has none.
_NOTHING = "–"
# The largest 32-bit integer is a limit of machines, not one to think about.
_LARGEST = 2**31 - 1
# Filled in when a job is submitted: no choice, so no difference from a preset.
_RECORDED = ("spec.dataset.version",)
_SHOWN_HASH_DIGITS = 12
_MAX_DIGITS = 18

Schema = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One kind of a union, such as the optimizer `adam`, with its own fields."""

    kind: str
    title: str
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Field:
    """One thing to fill in.

    Attributes:
        path: dotted path in the submission, such as `spec.model.filters`.
        control: `text`, `integer`, `number`, `boolean`, `choice`, `list` (numbers, with commas),
            `words` (texts, with commas) or `union`.
        value: what it holds at first; for a union its kind.
        minimum, maximum: bounds; `above` and `below` say that the bound itself is excluded.
        nullable: whether empty means null.
        choices: the values of a choice, as (value, label).
        variants: the kinds of a union.
    """

    path: str
    title: str
    description: str
    control: str
    value: Any = None
    unit: str | None = None
    advanced: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False
    nullable: bool = False
    max_length: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    variants: tuple[Variant, ...] = ()

    @property
    def bounds(self) -> str:
        """The allowed range in words, such as "1 to 10,000" or "> 0, ≤ 1"."""
        low, high = _number(self.minimum), _number(self.maximum)
        if low is not None and high is not None and not (self.above or self.below):
            return f"{low} to {high}" if self.maximum != _LARGEST else f"from {low}"
        lower = None if low is None else f"{'>' if self.above else '≥'} {low}"
        upper = None if high is None else f"{'<' if self.below else '≤'} {high}"
        return ", ".join(part for part in (lower, upper) if part)

    @property
    def text(self) -> str:
        """The value as the control shows it."""
        if isinstance(self.value, list):
            return ", ".join(str(item) for item in self.value)
        if self.value is None:
            return ""
        return repr(self.value).removesuffix(".0") if self.control == "number" else str(self.value)

    @property
    def shown_when(self) -> tuple[str, str] | None:
        """Path and value of the field that this one depends on."""
        return SHOWN_WHEN.get(self.path)


@dataclass(frozen=True)
class Section:
    """A titled group of fields; `advanced` ones are folded away at first."""

    title: str
    fields: tuple[Field, ...]

    @property
    def basic(self) -> list[Field]:
        """The fields that are always shown."""
        return [field for field in self.fields if not field.advanced]

    @property
    def folded(self) -> list[Field]:
        """The fields that are folded away at first."""
        return [field for field in self.fields if field.advanced]


@dataclass(frozen=True)
class SpecRow:
    """One hyperparameter as the job page shows it; `changed` from its preset or not."""

    section: str
    title: str
    value: str
    unit: str | None
    changed: bool


@dataclass(frozen=True)
class NewJob:
    """What the form starts from.

    Attributes:
        parent: id and name of the job that is cloned, if one is.
        preset: the chosen preset, if any.
        spec: the complete spec that the fields are filled with.
        about: name, tags and priority.
    """

    parent: dict[str, Any] | None
    preset: str | None
    spec: dict[str, Any]
    about: dict[str, Any]

    @classmethod
    def load(cls, session: Session, clone: str | None, preset: str | None) -> NewJob:
        """Start from another job, or from a preset.

        Args:
            session: for reading.
            clone: number of the job to clone, as the URL has it.
            preset: name of the preset; the first one unless given.

        Raises:
            NotFound: there is no such job or preset.
        """
        if clone is None:
            name = preset or next(iter(PRESETS))
            if name not in PRESETS:
                raise NotFound(f"There is no preset {name!r}; there are: {', '.join(PRESETS)}.")
            return cls(None, name, PRESETS[name].spec.model_dump(mode="json"), {})
        if not clone.isdecimal() or len(clone) > _MAX_DIGITS:
            raise NotFound(f"There is no job {clone!r} to clone.")
        job = jobs.get(session, int(clone))
        about = {"name": job.name, "tags": job.tags, "priority": job.priority}
        return cls({"id": job.id, "name": job.name}, job.preset, job.spec, about)

    @property
    def sections(self) -> list[Section]:
        """The form's sections, filled in."""
        return spec_sections(self.spec)

    @property
    def about_fields(self) -> list[Field]:
        """The fields about the job itself, filled in."""
        return about_fields(self.about)

    @property
    def data(self) -> str:
        """What `form.js` starts from, as JSON."""
        presets = {name: preset.spec.model_dump(mode="json") for name, preset in PRESETS.items()}
        return as_data({"presets": presets, "parent_id": self.parent and self.parent["id"]})


def spec_sections(spec: dict[str, Any]) -> list[Section]:
    """Return the form's sections, filled with `spec`.

    Args:
        spec: a complete spec, as `JobSpec.model_dump(mode="json")` gives it.
    """
    by_part: dict[str, list[Field]] = {}
    for field in _spec_fields():
        by_part.setdefault(field.path.split(".")[1], []).append(_fill(field, {"spec": spec}))
    sections = []
    for title, parts in SECTIONS.items():
        found = [field for part in parts for field in by_part.pop(part, [])]
        sections.append(Section(title, tuple(found)))
    rest = tuple(field for fields in by_part.values() for field in fields)
    sections[-1] = replace(sections[-1], fields=sections[-1].fields + rest)
    return sections


def about_fields(values: dict[str, Any]) -> list[Field]:
    """Return the fields about the job itself, outside its spec: name, tags, priority."""
    schema = _schema()
    made = [
        _make(name, name, schema["properties"][name], schema["$defs"], default)
        for name, default in (("name", None), ("tags", []), ("priority", 0))
    ]
    return [replace(field, value=values.get(field.path, field.value)) for field in made]


def kinds(part: str) -> list[str]:
    """Return the kinds that a part of the spec can have, such as those of `model`."""
    field = next(field for field in _spec_fields() if field.path == f"spec.{part}")
    return [variant.kind for variant in field.variants]


def spec_rows(spec: dict[str, Any], preset: dict[str, Any] | None) -> list[SpecRow]:
    """Return a spec's values as rows, each marked when it differs from the preset's.

    Args:
        spec: a job's complete spec.
        preset: the spec of its preset, if it has one that still exists.
    """
    base = {field.path: field.value for _, field in _leaves(preset)} if preset else None
    return [
        SpecRow(
            title,
            field.title,
            _shown(field),
            field.unit if field.value is not None else None,
            base is not None
            and field.path not in _RECORDED
            and base.get(field.path, field.value) != field.value,
        )
        for title, field in _leaves(spec)
    ]


def _leaves(spec: dict[str, Any]) -> Iterator[tuple[str, Field]]:
    for section in spec_sections(spec):
        for field in section.fields:
            if field.shown_when and not _holds(spec, field.shown_when):
                continue
            yield section.title, field
            for variant in field.variants:
                if variant.kind == field.value:
                    yield from ((section.title, inner) for inner in variant.fields)


def _holds(spec: dict[str, Any], condition: tuple[str, str]) -> bool:
    return bool(_lookup({"spec": spec}, condition[0]) == condition[1])


def _shown(field: Field) -> str:
    if field.control == "union":
        return kind_name(field.value)
    if isinstance(field.value, bool):
        return "yes" if field.value else "no"
    if field.path in _RECORDED:
        return field.text[:_SHOWN_HASH_DIGITS] or _NOTHING
    return field.text or _NOTHING


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    text = f"{value:,g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


@functools.cache
def _schema() -> Schema:
    return JobSubmission.model_json_schema()


@functools.cache
def _spec_fields() -> tuple[Field, ...]:
    """Return the spec's fields with their defaults; made once, they never change."""
    definitions = _schema()["$defs"]
    defaults = JobSpec().model_dump(mode="json")
    return tuple(_walk("spec", definitions["JobSpec"], definitions, defaults))


def _walk(path: str, schema: Schema, definitions: Schema, defaults: Schema) -> Iterator[Field]:
    """Yield the fields of an object; a part without kinds adds its own fields in its place."""
    for name, part in schema["properties"].items():
        if name == "kind":
            continue
        inner = f"{path}.{name}"
        if "$ref" in part:
            target = definitions[part["$ref"].rsplit("/", 1)[-1]]
            yield from _walk(inner, target, definitions, defaults[name])
        else:
            yield _make(inner, name, part, definitions, defaults[name])


def _make(path: str, name: str, schema: Schema, definitions: Schema, default: Any) -> Field:
    if "oneOf" in schema:
        return _make_union(path, name, schema, definitions, default)
    options = schema.get("anyOf", [schema])
    nullable = {"type": "null"} in options
    rules = schema | next(option for option in options if option != {"type": "null"})
    return Field(
        path=path,
        title=schema.get("title", name),
        description=schema.get("description", ""),
        control=_control(rules),
        value=default,
        unit=schema.get("unit"),
        advanced=schema.get("advanced", False),
        minimum=rules.get("minimum", rules.get("exclusiveMinimum")),
        maximum=rules.get("maximum", rules.get("exclusiveMaximum")),
        above="exclusiveMinimum" in rules,
        below="exclusiveMaximum" in rules,
        nullable=nullable,
        max_length=rules.get("maxLength"),
        choices=tuple((value, _choice_name(value)) for value in rules.get("enum", ())),
    )


def _make_union(path: str, name: str, schema: Schema, definitions: Schema, default: Any) -> Field:
    variants = []
    for option in schema["oneOf"]:
        target = definitions[option["$ref"].rsplit("/", 1)[-1]]
        kind = target["properties"]["kind"]["const"]
        complete = JobSpec.model_validate({name: {"kind": kind}}).model_dump(mode="json")[name]
        fields = tuple(_walk(path, target, definitions, complete))
        variants.append(Variant(kind, kind_name(kind), target.get("description", ""), fields))
    return Field(
        path=path,
        title=schema.get("title", name),
        description=schema.get("description", ""),
        control="union",
        value=default["kind"],
        variants=tuple(variants),
    )


def _control(rules: Schema) -> str:
    if "enum" in rules:
        return "choice"
    kind = str(rules["type"])
    if kind == "array":
        return "words" if rules["items"]["type"] == "string" else "list"
    return "text" if kind == "string" else kind


def _choice_name(value: str) -> str:
    return value.replace("_", " ")


def _fill(field: Field, values: dict[str, Any]) -> Field:
    """Put a value into a field; the kinds that were not chosen keep their defaults."""
    value = _lookup(values, field.path)
    if value is ...:
        return field
    if field.control != "union":
        return replace(field, value=value)
    variants = tuple(
        replace(variant, fields=tuple(_fill(inner, values) for inner in variant.fields))
        if variant.kind == value["kind"]
        else variant
        for variant in field.variants
    )
    return replace(field, value=value["kind"], variants=variants)


def _lookup(values: Any, path: str) -> Any:
    """Return the value at a dotted path, or `...` where there is none."""
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return ...
        values = values[name]
    return values


def as_data(value: Any) -> str:
    """Return a value as JSON that is safe inside a `<script type="application/json">`."""
    return json.dumps(value).replace("<", "\\u003c")
