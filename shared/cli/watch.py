"""Watching a job to its end: a live picture on a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live

from shared.cli.stream import Message
from shared.cli.text import clean
from shared.cli.view import JobView, epoch_line, outcome

_KINDS_IN_JSON = ("job", "epoch", "progress", "end")


def watch(messages: Iterable[Message], console: Console, *, as_json: bool = False) -> JobView:
    """Show a job's messages until the last.

    Args:
        messages: what happens to the job, such as `Follower.messages()`.
        console: where to.
        as_json: one JSON object a line, for programs.

    Returns:
        What is known of the job at the end.
    """
    view = JobView()
    if as_json:
        _as_json(messages, view)
    elif console.is_terminal:
        _live(messages, view, console)
        _print_outcome(view, console)
    else:
        _plain(messages, view, console)
        _print_outcome(view, console)
    return view


def exit_status(view: JobView) -> int:
    """Return 0 for a job that succeeded, 1 for any other."""
    return 0 if view.job.get("status") == "succeeded" else 1


def _live(messages: Iterable[Message], view: JobView, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        for message in messages:
            view.take(message)
            if view.job:
                live.update(view.render(), refresh=True)


def _plain(messages: Iterable[Message], view: JobView, console: Console) -> None:
    shown = ""
    for message in messages:
        view.take(message)
        job = view.job
        if job and job["status"] != shown and not view.over:
            shown = job["status"]
            console.print(f"job {job['id']} {clean(job['name'])}: {shown}")
        if message.kind == "epoch":
            console.print(epoch_line(message.data, job["epochs_total"]))


def _as_json(messages: Iterable[Message], view: JobView) -> None:
    for message in messages:
        view.take(message)
        if message.kind in _KINDS_IN_JSON:
            print(json.dumps({"type": message.kind, "data": message.data}), flush=True)


def _print_outcome(view: JobView, console: Console) -> None:
    for line in outcome(view.job):
        console.print(line)
