"""Starting the server: what it refuses, and what it does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import ConfigurationError
from shared.settings import Settings
from web.__main__ import check_reachable, main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "yard.example"])
def test_other_machines_are_not_let_in_without_a_token(settings: Settings, host: str) -> None:
    with pytest.raises(ConfigurationError, match="TRAINYARD_ACCESS_TOKEN"):
        check_reachable(settings, host)
    check_reachable(settings.model_copy(update={"access_token": SecretStr("t")}), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_token(settings: Settings, host: str) -> None:
    check_reachable(settings, host)


def test_a_refusal_to_start_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "0.0.0.0"]) == 2
    assert "TRAINYARD_ACCESS_TOKEN" in capsys.readouterr().err


def test_a_setting_that_cannot_be_used_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRAINYARD_MAX_STREAMS", "none")
    assert main([]) == 2
    assert "max_streams" in capsys.readouterr().err


def test_the_web_does_without_tensorflow_pandas_and_numpy() -> None:
    program = (
        "import sys, web.__main__\n"
        "print(sorted({'tensorflow', 'keras', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
