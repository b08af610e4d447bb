"""Commands that change jobs on their way, their queue, and who works on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shared.cli.job_commands import AsJson, JobId, connect, print_json
from shared.errors import InvalidInput

WorkerName = Annotated[str, typer.Argument(help="Name of the worker.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (cancel, pause, resume, priority, move, queue, drain, undrain):
        app.command()(command)


def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job."""
    _ask(job_id, "cancel", as_json=as_json)


def pause(job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a job; a running one saves itself first."""
    _ask(job_id, "pause", as_json=as_json)


def resume(job_id: JobId, as_json: AsJson = False) -> None:
    """Let a paused job go on from where it was."""
    _ask(job_id, "resume", as_json=as_json)


def priority(
    job_id: JobId,
    value: Annotated[int, typer.Argument(help="Higher starts first.", min=-100, max=100)],
    as_json: AsJson = False,
) -> None:
    """Change a job's priority."""
    with connect() as client:
        job = client.patch(f"/jobs/{job_id}", {"priority": value})
    if as_json:
        return print_json(job)
    return print(f"job {job_id} has priority {job['priority']}")


def move(
    job_id: JobId,
    before: Annotated[int | None, typer.Option(help="The job that it shall start before.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Start it next.")] = False,
    end: Annotated[bool, typer.Option("--end", help="Start it last.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move a waiting job in its queue."""
    if (before is not None) + front + end != 1:
        raise InvalidInput.of("move", "Give one of --before, --front, --end.", None)
    where = {"before": before} if before is not None else {"to": "front" if front else "end"}
    with connect() as client:
        job = client.post(f"/jobs/{job_id}/move", where)
        wait = client.waiting(job_id)
    if as_json:
        return print_json(job)
    if wait is None:
        return print(f"job {job_id} no longer waits")
    return print(f"job {job_id} is number {wait['position']}: {wait['sentence']}")


def queue(as_json: AsJson = False) -> None:
    """List what waits and why, first to start first."""
    from shared.cli import tables

    with connect() as client:
        items = client.get("/queue")["items"]
    if as_json:
        return print_json(items)
    return tables.make_console().print(tables.queue(items))


def drain(
    name: WorkerName,
    reason: Annotated[str, typer.Option(help="What others should know.")] = "",
) -> None:
    """Let a worker hand its jobs back and take no more."""
    with connect() as client:
        client.post(f"/workers/{name}/drain", {"reason": reason})
    print(f"worker {name} drains; `trainyard undrain {name}` lets it take jobs again")


def undrain(name: WorkerName) -> None:
    """Let a drained worker take jobs again."""
    with connect() as client:
        client.delete(f"/workers/{name}/drain")
    print(f"worker {name} takes jobs again")


def _ask(job_id: int, what: str, *, as_json: bool) -> None:
    with connect() as client:
        job: dict[str, Any] = client.post(f"/jobs/{job_id}/{what}")
    if as_json:
        return print_json(job)
    words = _IN_A_MOMENT[what] if job["status"] == "running" else f"is {job['status']}"
    return print(f"job {job_id} {words}")


_IN_A_MOMENT = {
    "cancel": "will stop in a moment",
    "pause": "will save itself and rest in a moment",
    "resume": "is running",
}
