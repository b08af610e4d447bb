"""The body of a submission, from a file and from `--set`; the server validates it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput

_SUBMISSION_FIELDS = {"name", "tags", "priority", "preset", "parent_id", "spec"}


def build(
    *,
    file: Path | None = None,
    preset: str | None = None,
    changes: Sequence[str] = (),
    name: str | None = None,
    tags: Sequence[str] = (),
    priority: int | None = None,
    queue: str | None = None,
) -> dict[str, Any]:
    """Build the body; what stands on the command line wins over the file.

    Args:
        file: JSON or TOML: a whole submission, or a bare spec.
        preset: named starting point.
        changes: `path=value` each, path within the spec.
        name, tags, priority, queue: as in the submission; None or empty: not given.

    Raises:
        InvalidInput: the file or a change cannot be read.
    """
    body = read_file(file) if file else {}
    given = {"preset": preset, "name": name, "tags": list(tags) or None, "priority": priority}
    body |= {field: value for field, value in given.items() if value is not None}
    spec = body.get("spec", {})
    if queue is not None:
        set_at(spec, "resources.queue", queue)
    for change in changes:
        set_at(spec, *parse_change(change))
    if spec:
        body["spec"] = spec
    return body


def read_file(path: Path) -> dict[str, Any]:
    """Read a submission from JSON or, by its name's ending, TOML.

    Raises:
        InvalidInput: it cannot be read, or is no object.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:  # decoding errors of both kinds are ValueErrors
        raise InvalidInput.of(
            "--file", f"Must be a JSON or TOML file: {error}.", str(path)
        ) from error
    if not isinstance(document, dict):
        raise InvalidInput.of("--file", "Must hold an object.", str(path))
    return document if document.keys() & _SUBMISSION_FIELDS else {"spec": document}


def parse_change(text: str) -> tuple[str, Any]:
    """Split `path=value`; the value is JSON, or else a plain string.

    Raises:
        InvalidInput: there is no path or no equals sign.
    """
    path, equals, value = text.partition("=")
    path = path.strip().removeprefix("spec.")
    if not equals or not all(path.split(".")):
        raise InvalidInput.of(
            "--set", "Must be path=value, such as model.filters=32 or optimizer.kind=adam.", text
        )
    try:
        return path, json.loads(value, parse_constant=_refuse)
    except ValueError:
        return path, value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def set_at(spec: Any, path: str, value: Any) -> None:
    """Set the value at a dotted path, making the objects on the way.

    Raises:
        InvalidInput: something on the way is no object.
    """
    *parents, last = path.split(".")
    for parent in parents:
        spec = spec.setdefault(parent, {}) if isinstance(spec, dict) else spec
    if not isinstance(spec, dict):
        raise InvalidInput.of("--set", f"{path} lies in something that has no fields.", spec)
    spec[last] = value
