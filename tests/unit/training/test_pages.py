"""A program that asks for huge pages: begun again once, otherwise the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="Huge pages are asked for on Linux only."
)

PROGRAM = """
import json, os, sys
started = os.getpid()
from worker.training.pages import use_huge_pages
use_huge_pages()
tunables = os.environ.get("GLIBC_TUNABLES")
print(json.dumps([started, tunables, sys.argv[1:], sys.flags.dev_mode, sys.stdin.read()]))
"""


def without_tunables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("", "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
    ids=["unset", "empty", "others", "chosen"],
)
def test_a_program_begins_again_with_huge_pages(before: str | None, after: str) -> None:
    environment = without_tunables() | ({} if before is None else {"GLIBC_TUNABLES": before})
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROGRAM, "one", "two words"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = process.communicate("input")
    assert process.returncode == 0
    assert json.loads(output) == [process.pid, after, ["one", "two words"], True, "input"]


def test_a_trainer_is_such_a_program() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.training"],
        env=without_tunables(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    environment = Path("/proc", str(process.pid), "environ")
    wait_until(
        lambda: b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in environment.read_bytes().split(b"\0"),
        what="the trainer to begin again",
    )
    process.communicate(b"no spec")
    assert process.returncode == 2


def test_a_program_that_loses_the_variable_begins_again_once() -> None:
    forgetful = f'import os; os.environ.pop("GLIBC_TUNABLES", None)\n{PROGRAM}'
    child = subprocess.run(
        [sys.executable, "-c", forgetful], input="", stdout=subprocess.PIPE, text=True, check=True
    )
    assert json.loads(child.stdout)[1] is None
