"""`python -m tests.fake_worker`: a real worker whose trainers are fakes."""

from __future__ import annotations

import sys
from functools import partial

from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.errors import ConfigurationError
from shared.live import Publisher
from shared.logs import configure
from shared.settings import Settings
from worker import celery_app
from worker.host import Host
from worker.supervisor import Yard
from worker.trainer_process import TrainerProcess

FAKE_COMMAND = (sys.executable, "-m", "tests.fake_trainer")
spawn_fake = partial(TrainerProcess, command=FAKE_COMMAND)


def make_yard(settings: Settings) -> Yard:
    """Connect to everything that `settings` names."""
    return Yard(
        settings,
        Database(settings.resolved_database_url),
        ArtifactStore(settings.resolved_artifacts_url),
        Publisher(settings.resolved_redis_url),
    )


def main() -> int:
    """Run the worker; return its exit code."""
    own = Settings()
    configure(own.log_level)
    try:
        return celery_app.run(Host(make_yard(own), spawn=spawn_fake))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
