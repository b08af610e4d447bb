"""The fields that a submission has, made from its JSON schema.

Owns the way from schema to fields. Knows nothing of pages, sections or jobs, and validates nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from shared.spec.dataset_import import DatasetImport
from shared.spec.job import JobSpec, JobSubmission
from web.present import kind_name

# Fields that mean nothing unless another has a certain value.
SHOWN_WHEN = {"spec.validation_fraction": ("spec.evaluate_on", "validation")}
# The largest 32-bit integer is a limit of machines, not one to think about.
_LARGEST = 2**31 - 1

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
            `words` (texts, with commas), `pairs` (name=value, with commas), `union` or `layers`
            (a list whose items have kinds).
        value: what it holds at first; for a union its kind.
        minimum, maximum: bounds; `above` and `below` say that the bound itself is excluded.
        nullable: whether empty means null.
        choices: the values of a choice, as (value, label).
        variants: the kinds of a union, or of a list's items; the latter's paths start at the item.
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
        if self.control == "layers":
            return json.dumps(self.value)
        if self.control == "pairs":
            return ", ".join(f"{name}={_plain(value)}" for name, value in self.value.items())
        if isinstance(self.value, list):
            return ", ".join(str(item) for item in self.value)
        if self.value is None:
            return ""
        return repr(self.value).removesuffix(".0") if self.control == "number" else str(self.value)

    @property
    def shown_when(self) -> tuple[str, str] | None:
        """Path and value of the field that this one depends on."""
        return SHOWN_WHEN.get(self.path)


def spec_fields(spec: dict[str, Any]) -> list[Field]:
    """Return the spec's fields in the schema's order, filled with `spec`.

    Args:
        spec: a complete spec, as `JobSpec.model_dump(mode="json")` gives it.
    """
    return [_fill(field, {"spec": spec}) for field in _spec_fields()]


def about_fields(values: dict[str, Any]) -> list[Field]:
    """Return the fields about the job itself, outside its spec: name, tags, priority."""
    schema = _schema()
    made = [
        _make(name, name, schema["properties"][name], schema["$defs"], default)
        for name, default in (("name", None), ("tags", []), ("priority", 0))
    ]
    return [replace(field, value=values.get(field.path, field.value)) for field in made]


def import_fields(values: dict[str, Any]) -> list[Field]:
    """Return the fields of an import, filled with `values`."""
    return [_fill(field, values) for field in _import_fields()]


def kinds(part: str) -> list[str]:
    """Return the kinds that a part of the spec can have, such as those of `model`."""
    field = next(field for field in _spec_fields() if field.path == f"spec.{part}")
    return [variant.kind for variant in field.variants]


def lookup(values: Any, path: str) -> Any:
    """Return the value at a dotted path, or `...` where there is none."""
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return ...
        values = values[name]
    return values


def _plain(value: Any) -> str:
    """Return a JSON value without quotation marks, where it reads as nothing else."""
    return value if isinstance(value, str) else json.dumps(value)


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


@functools.cache
def _import_fields() -> tuple[Field, ...]:
    schema = DatasetImport.model_json_schema()
    defaults = DatasetImport.model_construct(name="").model_dump(mode="json")
    return tuple(_walk("", schema, schema["$defs"], defaults))


def _walk(path: str, schema: Schema, definitions: Schema, defaults: Schema) -> Iterator[Field]:
    """Yield the fields of an object; a part without kinds adds its own fields in its place."""
    for name, part in schema["properties"].items():
        if name == "kind":
            continue
        inner = f"{path}.{name}" if path else name
        if "$ref" in part:
            target = definitions[part["$ref"].rsplit("/", 1)[-1]]
            yield from _walk(inner, target, definitions, defaults[name])
        else:
            yield _make(inner, name, part, definitions, defaults.get(name))


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
        variants=tuple(_item_kinds(rules.get("items", {}), definitions)),
    )


def _item_kinds(items: Schema, definitions: Schema) -> Iterator[Variant]:
    """Yield the kinds that the items of a list can have, with their defaults."""
    for option in items.get("oneOf", ()):
        target = definitions[option["$ref"].rsplit("/", 1)[-1]]
        kind = target["properties"]["kind"]["const"]
        fields = tuple(
            _make(name, name, schema, definitions, schema["default"])
            for name, schema in target["properties"].items()
            if name != "kind"
        )
        yield Variant(kind, kind_name(kind), target.get("description", ""), fields)


def _make_union(path: str, name: str, schema: Schema, definitions: Schema, default: Any) -> Field:
    variants = []
    for option in schema["oneOf"]:
        target = definitions[option["$ref"].rsplit("/", 1)[-1]]
        kind = target["properties"]["kind"]["const"]
        complete = _defaults(path.split(".")[1:], kind)
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


def _defaults(path: list[str], kind: str) -> Schema:
    """Return a kind's fields with their defaults, without those that must be given.

    Args:
        path: of the part that is of this kind, inside the spec.
        kind: one of those that it can have.
    """
    part: Any = JobSpec
    for name in path:
        part = part.model_fields[name].annotation
    model = next(model for model in get_args(part) if model.model_fields["kind"].default == kind)
    defaults: Schema = model.model_construct().model_dump(mode="json")
    return defaults


def _control(rules: Schema) -> str:
    if "enum" in rules:
        return "choice"
    kind = str(rules["type"])
    if kind == "object":
        return "pairs"
    if "oneOf" in rules.get("items", {}):
        return "layers"
    if kind == "array":
        return "words" if rules["items"]["type"] == "string" else "list"
    return "text" if kind == "string" else kind


def _choice_name(value: str) -> str:
    return value.replace("_", " ")


def _fill(field: Field, values: dict[str, Any]) -> Field:
    """Put a value into a field; the kinds that were not chosen keep their defaults."""
    value = lookup(values, field.path)
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
