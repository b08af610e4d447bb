"""The processor's name and cores."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from worker import processor


def test_the_model_is_what_linux_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9354\nflags\t: avx2\n")
    assert processor.model(file) == "AMD EPYC 9354"


def test_without_a_name_it_is_the_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert processor.model(tmp_path / "none") == platform.machine()


def test_there_is_a_core_at_least() -> None:
    assert processor.cores() >= 1
