"""A job's hyperparameters as the job page lists them: named, grouped, compared with the preset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.spec.layers import in_words
from web.fields import Field, lookup
from web.forms import spec_sections
from web.present import kind_name

# How a field reads that has no value.
_NOTHING = "–"
# Filled in when a job is submitted: no choice, so no difference from a preset.
_RECORDED = ("spec.dataset.version",)
_SHOWN_HASH_DIGITS = 12


@dataclass(frozen=True)
class SpecRow:
    """One hyperparameter as the job page shows it; `changed` from its preset or not."""

    section: str
    title: str
    value: str
    unit: str | None
    changed: bool


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
    return bool(lookup({"spec": spec}, condition[0]) == condition[1])


def _shown(field: Field) -> str:
    if field.control == "union":
        return kind_name(field.value)
    if isinstance(field.value, bool):
        return "yes" if field.value else "no"
    if field.path in _RECORDED:
        return field.text[:_SHOWN_HASH_DIGITS] or _NOTHING
    if field.control == "layers":
        return in_words(field.value)
    return field.text or _NOTHING
