"""A yard of small stand-in programs under the real supervisor and a real Redis.

`python -m tests.stand_ins DATA_DIR PORT [BEHAVIOUR ...]` runs it. Each stand-in appends to
`DATA_DIR/diary` what it does; behaviours make a part misbehave:

- `stubborn-worker`: the worker ignores SIGTERM.
- `slow-worker`: the worker takes half a second to hand its jobs back, and prints meanwhile.
- `dying-web`: the web server ends right after its start, each time.
- `failing-migrations`: the migrations fail.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

_GRACE_SECONDS = 3.0


def main(arguments: list[str]) -> int:
    """Run the yard, or one stand-in of it."""
    if arguments[0] == "part":
        return {"web": _web, "worker": _worker, "scheduler": _scheduler, "database": _database}[
            arguments[1]
        ](_Diary(Path(arguments[2]), arguments[1]), arguments[3:])
    return _yard(Path(arguments[0]), int(arguments[1]), arguments[2:])


def _yard(data_dir: Path, port: int, behaviours: list[str]) -> int:
    from shared.errors import TrainyardError
    from shared.settings import Settings
    from shared.yard import parts, up
    from shared.yard.processes import Part

    options = parts.YardOptions(Settings(data_dir=data_dir), port=port)
    real = parts.plan(options)

    def part(name: str) -> Part:
        command = [sys.executable, "-m", "tests.stand_ins", "part", name, str(data_dir)]
        return Part(name, [*command, str(port), *behaviours], os.environ, _GRACE_SECONDS)

    plan = parts.Plan(
        redis=real.redis,
        migrations=part("database"),
        web=part("web"),
        scheduler=part("scheduler"),
        workers=[part("worker")],
    )
    with mock.patch.object(up, "plan", return_value=plan):
        try:
            return up.run(options)
        except TrainyardError as error:
            print(error, file=sys.stderr)
            return 1


class _Diary:
    def __init__(self, data_dir: Path, name: str) -> None:
        self.data_dir = data_dir
        self._name = name

    def write(self, what: str) -> None:
        with (self.data_dir / "diary").open("a") as file:
            file.write(f"{self._name} {what}\n")

    def write_at_end(self) -> None:
        """Write down that the stand-in ends when it gets SIGTERM, and whether Redis still runs."""

        def end(*_: object) -> None:
            redis = (self.data_dir / "redis" / "redis.sock").exists()
            self.write(f"ends {'with' if redis else 'without'} redis")
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)


def _database(diary: _Diary, behaviours: list[str]) -> int:
    diary.write("runs")
    print("migrating", flush=True)
    return 1 if "failing-migrations" in behaviours else 0


def _scheduler(diary: _Diary, _behaviours: list[str]) -> int:
    diary.write_at_end()
    diary.write(f"starts {os.getpid()}")
    threading.Event().wait()
    return 0


def _worker(diary: _Diary, behaviours: list[str]) -> int:
    if "stubborn-worker" in behaviours:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif "slow-worker" in behaviours:
        signal.signal(signal.SIGTERM, lambda *_: _hand_back(diary))
    else:
        diary.write_at_end()
    subprocess.Popen(["sleep", "1000"])  # something that forgets to end by itself
    (diary.data_dir / "worker.pid").write_text(str(os.getpid()))
    diary.write(f"starts {os.getpid()}")
    threading.Event().wait()
    return 0


def _hand_back(diary: _Diary) -> None:
    for step in range(5):
        print(f"handing back {step} " + "x" * 100_000, flush=True)  # more than a pipe holds
        time.sleep(0.1)
    diary.write("ends with redis" if (diary.data_dir / "redis/redis.sock").exists() else "late")
    sys.exit(0)


def _web(diary: _Diary, arguments: list[str]) -> int:
    if "dying-web" in arguments:
        print("no templates", flush=True)
        return 3
    diary.write_at_end()
    diary.write(f"starts {os.getpid()}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pid = (diary.data_dir / "worker.pid").read_text() if "workers" in self.path else "0"
            body = json.dumps({"items": [{"pid": int(pid), "stopped_at": None}]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
