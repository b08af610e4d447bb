"""The one object that views reach the rest of the yard through.

Owns nothing but the references; whoever builds the app owns the parts' lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.live import Publisher
from shared.queue import Bell
from shared.settings import Settings
from web.counts import StatusCounts
from web.live import LiveHub

KEY = "yard"
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Yard:
    """What a view may need.

    Attributes:
        settings: this process's settings.
        database: the SQL database.
        artifacts: the artifact store.
        bell: tells workers that there is work.
        publisher: tells open pages, here and in other web processes, that a job changed.
        live: serves the event streams of this process.
        counts: jobs by status.
    """

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    bell: Bell
    publisher: Publisher
    live: LiveHub
    counts: StatusCounts

    def close(self) -> None:
        """End the streams and close all connections."""
        self.live.close()
        self.live.join(_JOIN_SECONDS)
        self.bell.close()
        self.publisher.close()
        self.database.dispose()


def current_yard() -> Yard:
    """Return the yard of the app that serves this request."""
    return cast(Yard, current_app.extensions[KEY])
