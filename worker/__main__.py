"""`python -m worker`: run a worker until it is told to stop."""

from __future__ import annotations

import sys

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.errors import ConfigurationError
from shared.live import Publisher
from shared.logs import configure
from shared.schema import require_current_if_reachable
from shared.settings import Settings
from worker import celery_app
from worker.host import Host
from worker.supervisor import Yard


def main() -> int:
    """Run the worker; return its exit code."""
    settings = Settings()
    configure(settings.log_level)
    yard = Yard(
        settings,
        Database(settings.resolved_database_url),
        ArtifactStore(settings.resolved_artifacts_url),
        Publisher(settings.resolved_redis_url),
    )
    try:
        require_current_if_reachable(yard.database)
        return celery_app.run(Host(yard))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
