"""The printed command makes the same job again."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from shared.cli.submission import build
from shared.reproduce import commands
from shared.spec import parse_submission
from shared.spec.presets import PRESETS

HASH = "7" * 64  # a string that is JSON too
CHANGES: list[dict[str, Any]] = [
    {},
    {"seed": 7, "dataset": {"version": HASH}},
    {"model": {"kind": "mlp", "hidden_units": [64, 32], "dropout": 0.5}},
    {"optimizer": {"kind": "sgd"}, "schedule": {"kind": "constant"}, "epochs": 3},
    {"early_stopping": {"kind": "none"}, "resources": {"queue": "gpu", "gpus": 1}},
]


def again(command: str) -> dict[str, Any]:
    """Return what the command would submit, as a spec."""
    words = shlex.split(command)
    assert words[:2] == ["trainyard", "submit"]
    options = list(zip(words[2::2], words[3::2], strict=True))
    body = build(
        preset=next((value for name, value in options if name == "--preset"), None),
        name=next(value for name, value in options if name == "--name"),
        changes=[value for name, value in options if name == "--set"],
    )
    return parse_submission(body).spec.model_dump(mode="json")


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("preset", [*PRESETS, None])
def test_the_command_submits_the_same_spec(preset: str | None, changes: dict[str, Any]) -> None:
    body = {"spec": changes} | ({"preset": preset} if preset else {})
    spec = parse_submission(body).spec.model_dump(mode="json")
    assert again(commands(1, "it's mine", preset, spec)["submit"]) == spec


def test_only_what_differs_is_said() -> None:
    spec = parse_submission({"preset": "adam", "spec": {"seed": 3}}).spec.model_dump(mode="json")
    assert commands(12, "mine", "adam", spec) == {
        "retry": "trainyard retry 12",
        "submit": "trainyard submit --preset adam --name mine --set seed=3",
    }


def test_a_preset_that_is_gone_is_not_named() -> None:
    spec = parse_submission({}).spec.model_dump(mode="json")
    assert commands(1, "a", "of-old", spec)["submit"] == "trainyard submit --name a"
