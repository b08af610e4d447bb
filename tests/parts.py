"""Real processes of the yard, for tests: started with chosen settings, always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.settings import Settings

_END_SECONDS = 30.0


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """Return an environment that gives another process the same settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    return own | {
        "TRAINYARD_DATA_DIR": str(settings.data_dir),
        "TRAINYARD_DATABASE_URL": settings.resolved_database_url,
        "TRAINYARD_REDIS_URL": settings.resolved_redis_url,
        "TRAINYARD_ARTIFACTS_URL": settings.resolved_artifacts_url,
        "TRAINYARD_WORKER_NAME": "w1",
        **changes,
    }


@contextmanager
def process(
    module: str,
    env: dict[str, str],
    log: Path,
    stop_signal: signal.Signals = signal.SIGTERM,
    *,
    arguments: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module [arguments]` while the block lasts; its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(stop_signal)
            try:
                running.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                raise
