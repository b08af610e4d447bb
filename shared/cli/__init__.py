"""The command `trainyard`.

Starts quickly: a command imports what it needs when it runs. Client commands speak HTTP only,
and never import SQLAlchemy, Celery, Flask or TensorFlow.
"""

from __future__ import annotations

import sys

_INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


def main() -> None:
    """Run the command line, and end the process with its exit status."""
    try:
        from shared.cli.app import run

        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
