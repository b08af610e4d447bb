"""Commands that run the yard's own processes on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.job_commands import AsJson, Changes, print_json

if TYPE_CHECKING:
    from shared.yard.parts import YardOptions

Host = Annotated[
    str, typer.Option(help="Address to bind to; elsewhere than loopback needs a token.")
]
Port = Annotated[int, typer.Option(help="Port of the web server.", min=1, max=65535)]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of all local state; TRAINYARD_DATA_DIR unless given.")
]
Workers = Annotated[int, typer.Option(help="Worker processes.", min=0, max=64)]
RedisPort = Annotated[
    int,
    typer.Option(
        help="TCP port of the embedded Redis on loopback; 0: its Unix socket only.",
        min=0,
        max=65535,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(up)
    app.command()(demo)
    app.command()(doctor)
    for name, module in _PROGRAMS.items():
        app.command(
            name,
            help=f"Run the {name} process alone (`python -m {module}`).",
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
            add_help_option=False,
        )(_program(module))
    database = typer.Typer(help="Look after the database.", no_args_is_help=True)
    for command in (upgrade, backup, restore):
        database.command()(command)
    app.add_typer(database, name="db")


def up(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    data_dir: DataDir = None,
    workers: Workers = 1,
    redis_port: RedisPort = 0,
) -> None:
    """Run the whole yard here: Redis, database, web server, scheduler and workers."""
    from shared.yard.up import run

    raise typer.Exit(run(yard_options(host, port, data_dir, workers, redis_port)))


def demo(
    port: Annotated[
        int | None, typer.Option(help="8080 unless given, or a free one if that is taken.")
    ] = None,
    data_dir: DataDir = None,
    preset: Annotated[str, typer.Option(help="What to train.")] = "hello-world",
    changes: Changes = None,
    exit_when_done: Annotated[
        bool, typer.Option("--exit-when-done", help="End after the job, do not serve on.")
    ] = False,
) -> None:
    """Run the yard, train the tutorial's network, and show its curve here and in the browser."""
    from shared.cli.demo import run
    from shared.cli.submission import build

    body = build(preset=preset, changes=changes or [])
    raise typer.Exit(run(body, port=port, data_dir=data_dir, exit_when_done=exit_when_done))


def doctor(as_json: AsJson = False) -> None:
    """Check database, Redis, artifact store, clocks, workers and disk; say what to do."""
    from shared.checkup import examine
    from shared.cli.environment import read_settings

    findings = examine(read_settings())
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            print(
                f"{finding.level:8}{finding.check:11}{finding.sentence} {finding.advice}".rstrip()
            )
    raise typer.Exit(1 if any(finding.level == "error" for finding in findings) else 0)


def yard_options(
    host: str, port: int, data_dir: Path | None, workers: int, redis_port: int = 0
) -> YardOptions:
    """Build the yard's options from the command line and the environment.

    Raises:
        ConfigurationError: a setting in the environment is unusable.
    """
    from shared.cli.environment import read_settings
    from shared.yard.parts import YardOptions

    settings = read_settings(data_dir)
    return YardOptions(settings, host, port, workers, redis_port)


def upgrade() -> None:
    """Bring the database to the revision, and to the bundled data sets, of this version."""
    from shared.catalogue import register_bundled
    from shared.cli.environment import read_settings
    from shared.database import Database
    from shared.schema import upgrade as upgrade_schema

    settings = read_settings()
    url = settings.resolved_database_url
    if url.startswith("sqlite"):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    changed = upgrade_schema(url)
    database = Database(url)
    try:
        with database.write() as session:
            register_bundled(session)
    finally:
        database.dispose()
    print("The database was brought up to date." if changed else "The database is up to date.")


BackupFile = Annotated[Path, typer.Argument(help="The backup's file.")]


def backup(file: BackupFile) -> None:
    """Copy the SQLite database to a file, while the yard works."""
    from shared.backup import backup as run
    from shared.cli.environment import read_settings

    run(read_settings(), file)
    print(f"The database was copied to {file}.")


def restore(file: BackupFile) -> None:
    """Put a backup in the place of the SQLite database; the yard must not run."""
    from shared.backup import restore as run
    from shared.cli.environment import read_settings

    run(read_settings(), file)
    print("The database was restored; `trainyard up` brings it up to date and goes on.")


_PROGRAMS = {"web": "web", "worker": "worker", "scheduler": "worker.scheduler"}


def _program(module: str) -> Callable[[typer.Context], None]:
    """Return a command that becomes `python -m module`, with the arguments it was given."""

    def become(context: typer.Context) -> None:
        from shared.yard.parts import python_environment

        command = [sys.executable, "-m", module, *context.args]
        sys.stdout.flush()
        os.execve(sys.executable, command, dict(os.environ) | python_environment())

    return become
