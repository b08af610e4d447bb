"""Files that grow leave nothing behind, whoever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from shared.spool import growing

_GROW = """
import sys
from pathlib import Path
from shared.spool import growing
with growing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print(file.name, flush=True)
    sys.stdin.read()
"""


def age(path: str) -> None:
    os.utime(path, (0, 0))


def test_what_a_killed_process_left_goes_and_what_still_grows_stays(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _GROW, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        left = other.stdout.readline().rstrip()
        age(left)
        with growing(tmp_path):
            assert Path(left).read_bytes() == b"half"
        other.kill()
    assert Path(left).exists()
    with growing(tmp_path) as own:
        assert [path.name for path in tmp_path.iterdir()] == [Path(own.name).parent.name]
    assert list(tmp_path.iterdir()) == []
