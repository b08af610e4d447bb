"""The body of a submission, from file and command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.cli.submission import build, parse_change, set_at
from shared.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=0.01", ("learning_rate", 0.01)),
        ("model.kind=mlp", ("model.kind", "mlp")),
        ("spec.epochs=3", ("epochs", 3)),
        ("model.hidden_units=[64, 32]", ("model.hidden_units", [64, 32])),
        ("model.batch_norm=false", ("model.batch_norm", False)),
        ('dataset.name="007"', ("dataset.name", "007")),
        ("dataset.name=", ("dataset.name", "")),
        ("name=a=b", ("name", "a=b")),
        ("learning_rate=NaN", ("learning_rate", "NaN")),
    ],
)
def test_a_value_is_json_or_else_a_string(text: str, expected: tuple[str, Any]) -> None:
    assert parse_change(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=3", "model..kind=mlp", ".epochs=3"])
def test_a_change_without_path_or_value_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--set.*path=value") as caught:
        parse_change(text)
    assert caught.value.errors[0].received == text


def test_a_path_through_a_plain_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"epochs\.x lies in something that has no fields"):
        set_at({"epochs": 3}, "epochs.x", 1)


def test_nothing_is_sent_that_was_not_given() -> None:
    assert build() == {}
    assert build(preset="adam", priority=0) == {"preset": "adam", "priority": 0}


def test_changes_of_one_part_come_together() -> None:
    body = build(changes=["model.kind=mlp", "model.dropout=0.5"], queue="gpu", tags=["a", "b"])
    assert body == {
        "tags": ["a", "b"],
        "spec": {"resources": {"queue": "gpu"}, "model": {"kind": "mlp", "dropout": 0.5}},
    }


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text('name = "file"\npreset = "adam"\n[spec]\nepochs = 3\n[spec.model]\nfilters = 8')
    body = build(file=file, name="line", changes=["epochs=4"])
    assert body == {
        "name": "line",
        "preset": "adam",
        "spec": {"epochs": 4, "model": {"filters": 8}},
    }


def test_a_file_may_hold_a_bare_spec(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"epochs": 3}')
    assert build(file=file) == {"spec": {"epochs": 3}}


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", b"{"), ("a.toml", b"a ="), ("a.json", b"[1]"), ("a.json", b"\xff")],
)
def test_a_file_that_is_no_object_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="--file") as caught:
        build(file=file)
    assert caught.value.errors[0].received == str(file)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        build(file=tmp_path / "none.json")
