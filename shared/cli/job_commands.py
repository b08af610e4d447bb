"""Commands that speak to a server: submit, look, watch, retry, export, lists."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.errors import TrainyardError

if TYPE_CHECKING:
    from shared.cli.client import Client

JobId = Annotated[int, typer.Argument(help="Number of the job.", min=1)]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one field of the spec, such as model.filters=32; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Format(StrEnum):
    """File formats of an export."""

    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (
        submit,
        preflight,
        jobs,
        show,
        watch,
        retry,
        export,
        workers,
        presets,
    ):
        app.command()(command)


def submit(
    preset: Annotated[str | None, typer.Option(help="Named starting point.")] = None,
    changes: Changes = None,
    file: Annotated[Path | None, typer.Option(help="Submission or spec, as JSON or TOML.")] = None,
    name: Annotated[str | None, typer.Option(help="Name that lists show.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Word to find the job by; may be repeated."),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher starts first.")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue whose workers take the job.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show the training.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    from shared.cli.submission import build

    body = build(
        file=file,
        preset=preset,
        changes=changes or [],
        name=name,
        tags=tag or [],
        priority=priority,
        queue=queue,
    )
    with connect() as client:
        job = client.post("/jobs", body, idempotency_key=uuid.uuid4().hex)
        _announce(client, job, watch=watch, as_json=as_json)


def preflight(
    preset: Annotated[str | None, typer.Option(help="Named starting point.")] = None,
    changes: Changes = None,
    file: Annotated[Path | None, typer.Option(help="Submission or spec, as JSON or TOML.")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue whose workers try it.")] = None,
    job: Annotated[int | None, typer.Option(help="Start from the spec of this job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a job for a moment: memory, seconds an epoch, largest batch. Exit 1: it cannot be run."""
    from shared.cli import preflight as trial
    from shared.cli.submission import build
    from shared.spec.job import merge

    body = build(file=file, preset=preset, changes=changes or [], queue=queue)
    with connect() as client:
        if job is not None:
            body["spec"] = merge(client.get(f"/jobs/{job}")["spec"], body.get("spec", {}))
        answer = trial.run(client, body)
    if as_json:
        print_json(answer)
    else:
        trial.show(answer)
    raise typer.Exit(0 if answer["status"] == "done" and answer["report"]["fits"] else 1)


def _announce(client: Client, job: dict[str, Any], *, watch: bool, as_json: bool) -> None:
    """Say that a job is queued, and go on to watch it if that was asked for."""
    from shared.cli.text import clean

    if job.get("warning"):
        print(job["warning"], file=sys.stderr)
    if not as_json:
        name = clean(job["name"])
        print(f"job {job['id']} {name} is queued: {client.page_of(job['id'])}")
    elif not watch:
        print_json(job)
    if watch:
        _watch(client, job["id"], as_json=as_json)


def jobs(
    status: Annotated[list[str] | None, typer.Option(help="Only this status; repeatable.")] = None,
    q: Annotated[str | None, typer.Option("--q", help="Words in name, tags or number.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only on this data set.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this kind of model.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=VALUE", help="Only where the spec has this value."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Field to sort by, descending with a minus in front.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Jobs at most.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from shared.cli import tables
    from shared.cli.submission import parse_change

    params: dict[str, Any] = {
        "status": status,
        "q": q,
        "tag": tag,
        "dataset": dataset,
        "model": model,
        "sort": sort,
        "limit": min(limit, 100),
    }
    for change in param or []:
        path, _ = parse_change(change)
        params[f"param.{path}"] = change.partition("=")[2]
    params = {name: value for name, value in params.items() if value}
    with connect() as client:
        items = list(client.items("/jobs", params, at_most=limit))
    if as_json:
        return print_json(items)
    console = tables.make_console()
    return console.print(tables.jobs(items, datetime.now(UTC), console.width))


def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job: figures, epochs and curve."""
    with connect() as client:
        job = client.get(f"/jobs/{job_id}")
        wait = client.waiting(job_id) if job["status"] == "queued" else None
        rows = client.get(f"/jobs/{job_id}/epochs")["items"]
    if as_json:
        return print_json({**job, "epochs": rows, "waiting": wait})
    from shared.cli.details import print_details

    return print_details(job, rows, wait)


def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Watch a job until it ends; the exit status is 1 unless it succeeds."""
    with connect() as client:
        _watch(client, job_id, as_json=as_json)


def retry(
    job_id: JobId,
    changes: Changes = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="With the changes that the failure doctor names.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show the training.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit an ended job once more, as a new job."""
    from shared.cli.submission import parse_change, set_at

    with connect() as client:
        spec = _correction(client, job_id) if corrected else {}
        for change in changes or []:
            set_at(spec, *parse_change(change))
        job = client.post(f"/jobs/{job_id}/retry", {"spec": spec})
        _announce(client, job, watch=watch, as_json=as_json)


def export(
    job_id: JobId,
    file_format: Annotated[Format, typer.Option("--format", help="Of the epochs.")] = Format.CSV,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Fetch the job's files, but for checkpoints, into here."),
    ] = None,
) -> None:
    """Print a job's epochs, and fetch its files."""
    with connect() as client:
        if file_format is Format.CSV:
            params = {"format": "csv"}
            sys.stdout.write(client.get_text(f"/jobs/{job_id}/epochs", params))
        else:
            print_json(client.get(f"/jobs/{job_id}/epochs")["items"])
        if artifacts is not None:
            _fetch_artifacts(client, job_id, artifacts)


def _correction(client: Client, job_id: int) -> dict[str, Any]:
    correction = client.get(f"/jobs/{job_id}")["correction"]
    if correction is None:
        raise TrainyardError(f"The failure doctor has no correction for job {job_id}.")
    print(correction["label"], file=sys.stderr)
    return dict(correction["changes"])


def _fetch_artifacts(client: Client, job_id: int, folder: Path) -> None:
    from shared.cli.artifacts import fetch

    for artifact in client.get(f"/jobs/{job_id}/artifacts")["items"]:
        if artifact["kind"] != "checkpoint":
            print(fetch(client, job_id, artifact, folder), file=sys.stderr)


def workers(as_json: AsJson = False) -> None:
    """List the workers, and what each does."""
    from shared.cli import tables

    with connect() as client:
        items = client.get("/workers")["items"]
    if as_json:
        return print_json(items)
    return tables.make_console().print(tables.workers(items, datetime.now(UTC)))


def presets(as_json: AsJson = False) -> None:
    """List the presets: named starting points for `submit --preset`."""
    print_list("/presets", "presets", as_json=as_json)


def print_list(path: str, table: str, *, as_json: bool) -> None:
    """Print a list of the API, as a table of `shared.cli.tables` or as JSON."""
    from shared.cli import tables

    with connect() as client:
        items = client.get(path)["items"]
    if as_json:
        return print_json(items)
    return tables.make_console().print(getattr(tables, table)(items))


def _watch(client: Client, job_id: int, *, as_json: bool) -> None:
    from shared.cli.stream import Follower
    from shared.cli.tables import make_console
    from shared.cli.watch import exit_status, watch

    messages = Follower(client, job_id).messages()
    try:
        view = watch(messages, make_console(), as_json=as_json)
    except KeyboardInterrupt:
        print(f"job {job_id} goes on; `trainyard watch {job_id}` shows it again", file=sys.stderr)
        raise
    raise typer.Exit(exit_status(view))


@contextmanager
def connect() -> Iterator[Client]:
    """Open the client of TRAINYARD_URL for the block."""
    from shared.cli.client import Client
    from shared.cli.environment import read_settings

    client = Client.of(read_settings())
    try:
        yield client
    finally:
        client.close()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
