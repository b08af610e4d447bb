"""JSON as browsers accept it, and server-sent events as they read them."""

from __future__ import annotations

import json
import math
from typing import Any

from flask.json.provider import DefaultJSONProvider

HEARTBEAT = b": still here\n\n"


def to_json(value: Any) -> str:
    """Return compact JSON; NaN and infinities, which JSON does not have, become null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def event_frame(kind: str, data: Any, event_id: str | None = None) -> bytes:
    """Return one server-sent event."""
    name = f"id: {event_id}\n" if event_id is not None else ""
    return f"{name}event: {kind}\ndata: {to_json(data)}\n\n".encode()


class JsonProvider(DefaultJSONProvider):
    """Flask's JSON, written by `to_json`."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return `obj` as JSON."""
        return to_json(obj)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
