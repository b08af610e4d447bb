"""What is left of the memory, from imitations of the kernel's files."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from worker import machine_memory
from worker.machine_memory import MemoryWatch, all_bytes, free_bytes, kills

MIB = 1 << 20
UNLIMITED = str(0x7FFFFFFFFFFFF000)  # what version 1 says


class Groups:
    """A tree of control groups in a folder."""

    def __init__(self, folder: Path, own: str) -> None:
        self.mount = folder
        (folder / "own").write_text(own)

    def write(self, group: str, **files: str) -> None:
        """Write files of a group, `memory_max` for `memory.max`."""
        folder = self.mount / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def groups(monkeypatch: pytest.MonkeyPatch, folder: Path, own: str) -> Groups:
    monkeypatch.setattr(machine_memory, "_MOUNT", folder)
    monkeypatch.setattr(machine_memory, "_OWN_GROUPS", folder / "own")
    return Groups(folder, own)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Groups:
    return groups(monkeypatch, tmp_path, "0::/yard/worker\n")


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Groups:
    return groups(monkeypatch, tmp_path, "5:cpu:/box\n4:memory:/box\n0::/\n")


def test_files_that_the_kernel_can_let_go_of_count_as_free(second: Groups) -> None:
    stat = f"anon {30 * MIB}\ninactive_file {50 * MIB}\nactive_file {10 * MIB}"
    second.write(
        "yard/worker",
        memory_max=str(100 * MIB),
        memory_current=str(90 * MIB),
        memory_stat=stat,
    )
    assert free_bytes() == 60 * MIB
    assert all_bytes() == 100 * MIB


def test_the_narrowest_group_on_the_way_up_decides(second: Groups) -> None:
    second.write("yard/worker", memory_max="max", memory_current=str(MIB))
    second.write("yard", memory_max=str(20 * MIB), memory_current=str(5 * MIB))
    assert free_bytes() == 15 * MIB
    assert all_bytes() == 20 * MIB


def test_the_limits_of_version_1_are_read(first: Groups) -> None:
    first.write(
        "memory/box",
        memory_limit_in_bytes=str(100 * MIB),
        memory_usage_in_bytes=str(90 * MIB),
        memory_stat=f"inactive_file 1\ntotal_inactive_file {20 * MIB}",
        memory_oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 7",
    )
    first.write("memory", memory_limit_in_bytes=UNLIMITED, memory_usage_in_bytes="0")
    assert free_bytes() == 30 * MIB
    assert kills() == 7


def test_a_container_that_sees_its_own_group_as_the_root(first: Groups) -> None:
    first.write("memory", memory_limit_in_bytes=str(MIB), memory_usage_in_bytes="0")
    assert all_bytes() == MIB


def test_without_groups_the_machine_decides(second: Groups) -> None:
    (second.mount / "own").unlink()
    assert 0 < free_bytes() < all_bytes() == psutil.virtual_memory().total
    assert kills() == 0


def test_a_kill_is_evidence_only_if_it_came_after_the_watch_began(second: Groups) -> None:
    second.write("yard/worker", memory_events="oom 3\noom_kill 3")
    watch = MemoryWatch()
    assert watch.evidence() is None
    second.write("yard/worker", memory_events="oom 4\noom_kill 4")
    assert "kernel has killed" in (watch.evidence() or "")


def test_memory_that_was_nearly_gone_is_evidence_though_it_is_free_again(second: Groups) -> None:
    second.write("yard/worker", memory_max=str(100 * MIB), memory_current=str(99 * MIB))
    watch = MemoryWatch()
    second.write("yard/worker", memory_current=str(10 * MIB))
    assert watch.evidence() == "1 of 100 MiB of memory were left before that."
    watch.look()
    assert watch.evidence() is None
