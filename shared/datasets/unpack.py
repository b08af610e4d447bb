"""`python -m shared.datasets.unpack NAME FOLDER`: put a bundled data set into a cache.

A program, so that a process which knows no NumPy can have it done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.datasets.cache import materialise
from shared.errors import TrainyardError


def main(arguments: list[str]) -> int:
    """Unpack; return the exit code."""
    if len(arguments) != 2:
        print("usage: python -m shared.datasets.unpack NAME FOLDER", file=sys.stderr)
        return 2
    try:
        print(materialise(arguments[0], Path(arguments[1])))
    except (TrainyardError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
