"""The web server: `python -m web --host 127.0.0.1 --port 8080`.

Owns gunicorn's configuration: one process whose threads serve requests and live streams alike,
because all viewers share one listener to Redis. Exit status 2: it may not, or cannot, be started
with these settings.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker
from pydantic import ValidationError

from shared import logs
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.yard.addresses import is_loopback
from web.app import create_app
from web.yard import KEY, Yard

# Threads beside those that streams hold: what requests share, and refusals of more streams.
_REQUEST_THREADS = 32
_SPARE_CONNECTIONS = 1000
_GRACEFUL_SECONDS = 5
_KEEPALIVE_SECONDS = 5
_USAGE_STATUS = 2


class YardWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker, which ends the open streams before it waits for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully."""
        self._end_streams()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at once."""
        self._end_streams()
        super().handle_quit(sig, frame)

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer a request; once the server stops, hang up after the answer."""
        keep_alive: bool = super().handle_request(req, conn)
        if self.alive:
            return keep_alive
        # Otherwise gunicorn waits two seconds for the other side to do so, one after the other.
        with contextlib.suppress(OSError):
            conn.sock.shutdown(socket.SHUT_RDWR)
        return False

    def _end_streams(self) -> None:
        yard: Yard = self.wsgi.extensions[KEY]
        yard.live.close()


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn, configured from our settings alone.

    Args:
        app: the application.
        settings: for the number of streams and the log level.
        host, port: where to listen.
    """

    def __init__(self, app: Flask, settings: Settings, host: str, port: int) -> None:
        self._app = app
        threads = settings.max_streams + _REQUEST_THREADS
        self._options: dict[str, Any] = {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "worker_class": YardWorker,
            "workers": 1,
            "threads": threads,
            "worker_connections": threads + _SPARE_CONNECTIONS,
            "preload_app": True,
            "graceful_timeout": _GRACEFUL_SECONDS,
            "keepalive": _KEEPALIVE_SECONDS,
            "loglevel": settings.log_level.lower(),
            "control_socket_disable": True,
        }
        super().__init__()

    def load_config(self) -> None:
        """Set the options; no files, no environment."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application."""
        return self._app


def check_reachable(settings: Settings, host: str) -> None:
    """Refuse to serve everybody who can reach this machine without asking who they are.

    Raises:
        ConfigurationError: the host is not loopback, and there is no access token.
    """
    if not is_loopback(host) and not settings.access_token:
        raise ConfigurationError(
            f"Binding to {host} lets other machines in, so it needs an access token: set "
            "TRAINYARD_ACCESS_TOKEN to a long random text (`openssl rand -hex 24` makes one), or "
            "bind to 127.0.0.1."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal says stop; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
        check_reachable(settings, options.host)
        logs.configure(settings.log_level)
        app = create_app(settings, bound_host=options.host)
    except (ConfigurationError, ValidationError) as error:
        print(error, file=sys.stderr)
        return _USAGE_STATUS
    # What start-up made stays to the end: shared with the child, and not taken apart at the exit,
    # which costs each of the two processes a quarter of a second.
    gc.collect()
    gc.freeze()
    # Until gunicorn has its own handlers, a stop must not be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(app, settings, options.host, options.port).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m web", description="Serve pages and API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
