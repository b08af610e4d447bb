"""The settings, with errors that name the environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError
from shared.settings import Settings


def read_settings(data_dir: Path | None = None) -> Settings:
    """Read the settings from the environment.

    Args:
        data_dir: overrides TRAINYARD_DATA_DIR.

    Raises:
        ConfigurationError: naming each variable, its rule and the value received.
    """
    from pydantic import ValidationError

    overrides: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(" ".join(_sentence(item) for item in error.errors())) from error


def _sentence(item: Any) -> str:
    variable = "TRAINYARD_" + "_".join(str(part) for part in item["loc"]).upper()
    return f"{variable}: {item['msg']}. Received: {item['input']!r}."
