"""The way a spec's field is declared: description, unit, bounds and default in one place."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SpecModel(BaseModel):
    """Base of every part of a spec: unknown fields are errors, values are frozen and finite.

    Typed as JSON is: `true` and "5" are no numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def spec_field(
    default: Any = ...,
    *,
    title: str,
    description: str,
    unit: str | None = None,
    advanced: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a field of a spec.

    Args:
        default: the value when the caller gives none; `...` makes the field required.
        title: label in the form, sentence case.
        description: one or two sentences for a person who chooses the value.
        unit: unit of the value, such as `seconds` or `images`.
        advanced: whether the form folds the field away at first.
        **constraints: pydantic's bounds (`gt`, `ge`, `lt`, `le`, `min_length`, ...) or
            `default_factory`.

    Returns:
        A pydantic field; `unit` and `advanced` stand in its JSON schema.
    """
    extra: dict[str, Any] = {}
    if unit is not None:
        extra["unit"] = unit
    if advanced:
        extra["advanced"] = True
    if "default_factory" not in constraints:
        constraints["default"] = default
    return Field(
        title=title, description=description, json_schema_extra=extra or None, **constraints
    )
