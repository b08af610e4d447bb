"""Reads what programs send: JSON that SQL can hold, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from shared.errors import InvalidInput

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
# PostgreSQL's text holds no NUL, UTF-8 no lone surrogates.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def read_json(*, default: Any = None) -> Any:
    """Return the request's body.

    Args:
        default: what an empty body means; None: an empty body is an error.

    Raises:
        UnsupportedMediaType: it is not said to be JSON.
        BadRequest: it is not JSON, or holds text that cannot be stored.
    """
    if default is not None and not request.get_data():
        return default
    if request.mimetype != "application/json":
        received = request.mimetype or "no Content-Type"
        raise UnsupportedMediaType(f"The body must be application/json. Received: {received}.")
    try:
        body = json.loads(request.get_data(), parse_constant=_refuse_constant)
        _check_texts(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON that this server takes: {error}.") from error
    return body


def idempotency_key() -> str | None:
    """Return the Idempotency-Key header, if there is one.

    Raises:
        InvalidInput: it is empty, too long or not plain ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput.of("Idempotency-Key", "Must be 1 to 200 visible ASCII characters.", key)
    return key


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _check_texts(value: Any) -> None:
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise ValueError("text may not hold NUL or half a surrogate pair")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key)
            _check_texts(item)
    if isinstance(value, list):
        for item in value:
            _check_texts(item)
