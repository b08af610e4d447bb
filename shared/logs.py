"""How processes log: one line, to standard error, time first."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Send this process's log to standard error.

    Args:
        level: name of the least level shown, such as `INFO`.
    """
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("celery").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
