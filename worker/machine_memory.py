"""The memory of this machine and of the container around it: how much is left, and for whom.

Reads what Linux tells of control groups, of either version; elsewhere only the machine's own
figures are known. A limit may stand on any group from the process's own up to the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_MOUNT = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
# Less than this share of all memory is as good as none.
_NEARLY_NOTHING = 0.02
_MIB = 1 << 20


@dataclass(frozen=True)
class _Files:
    """What a version of control groups calls its files, and what stands in them."""

    limit: str
    used: str
    reclaimable: str
    kills: str


_V2 = _Files("memory.max", "memory.current", "inactive_file", "memory.events")
_V1 = _Files(
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"
)


def free_bytes() -> int:
    """Return the bytes that a process here could still take, by the machine and by its container.

    Files that the kernel keeps in memory, and can let go of, count as free.
    """
    free = int(psutil.virtual_memory().available)
    for folder, files in _groups():
        limit, used = _number(folder / files.limit), _number(folder / files.used)
        if limit is not None and used is not None:
            reclaimable = _entry(folder / "memory.stat", files.reclaimable) or 0
            free = min(free, limit - used + reclaimable)
    return max(0, free)


def all_bytes() -> int:
    """Return the bytes that all processes here may take together."""
    limits = (_number(folder / files.limit) for folder, files in _groups())
    known = (limit for limit in limits if limit is not None)
    return min([int(psutil.virtual_memory().total), *known])


def kills() -> int:
    """Return how often the kernel has killed a process of this container for its memory."""
    counts = (_entry(folder / files.kills, "oom_kill") for folder, files in _groups())
    return next((count for count in counts if count is not None), 0)


class MemoryWatch:
    """Tells whether memory ran out, from its making until a process was found killed."""

    def __init__(self) -> None:
        self._kills = kills()
        self.look()

    def look(self) -> None:
        """Remember how much is left; what a killed process had held is free at once."""
        self._free = free_bytes()

    def evidence(self) -> str | None:
        """Return what shows that memory ran out, as a sentence; None if nothing does."""
        if kills() > self._kills:
            return "The kernel has killed a process here because memory ran out."
        most = all_bytes()
        if self._free < _NEARLY_NOTHING * most:
            return f"{self._free // _MIB} of {most // _MIB} MiB of memory were left before that."
        return None


def _groups() -> Iterator[tuple[Path, _Files]]:
    """Yield the control groups that this process is in, its own first, the root's last."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, files = _MOUNT / "memory", _V1
        elif not controllers:
            root, files = _MOUNT, _V2
        else:
            continue
        own = root / path.lstrip("/")
        if ".." in own.parts or not own.is_dir():  # the container sees its own group as the root
            own = root
        while own != root:
            yield own, files
            own = own.parent
        yield root, files


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is none, as where it says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _entry(path: Path, name: str) -> int | None:
    """Return the number behind a name in a file of such pairs."""
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == name), None)
    except (OSError, ValueError, IndexError):
        return None
