"""Lists as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.cli import text

STATUS_STYLES = {
    "queued": "yellow",
    "running": "blue",
    "paused": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}
TRAIN_STYLE, EVAL_STYLE = "blue", "green"  # as in the tutorial
_PIPED_WIDTH = 200
_WIDTH_WITH_CURVES = 100


def make_console(*, stderr: bool = False) -> Console:
    """Return the console of standard output, or error; wide when no terminal sets the width."""
    console = Console(highlight=False, emoji=False, markup=False, stderr=stderr)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, emoji=False, markup=False, stderr=stderr, width=_PIPED_WIDTH)
    )


def status(name: str) -> Text:
    """Return a job's status in its colour."""
    return Text(name, STATUS_STYLES.get(name, ""))


def queue(items: Iterable[dict[str, Any]]) -> Table:
    """Return what waits, first to start first."""
    table = _table(">ID", "Name", "Queue", ">Place", "Why it waits")
    for item in items:
        row = (str(item["job_id"]), _shortened(item["name"]), item["queue"])
        table.add_row(*row, str(item["position"]), item["sentence"])
    return table


def jobs(items: Iterable[dict[str, Any]], now: datetime, width: int) -> Table:
    """Return the list of jobs.

    Args:
        items: list items of the API.
        now: for their ages.
        width: of the terminal, in characters; a narrow one gets no curves.
    """
    with_curves = width >= _WIDTH_WITH_CURVES
    table = _table(
        ">ID",
        "Status",
        "Name",
        "Model",
        ">Rate",
        ">Epochs",
        ">Best",
        ">Took",
        ">Age",
        *(["Curve"] if with_curves else []),
    )
    for job in items:
        table.add_row(
            str(job["id"]),
            status(job["status"]),
            _shortened(job["name"]),
            _shortened(job["model"]),
            text.number(job["learning_rate"]),
            f"{job['epochs_done']}/{job['epochs_total']}",
            text.percent(job["best_eval_accuracy"]),
            text.duration(job["duration_seconds"]),
            text.age(job["submitted_at"], now),
            *([_curve(job)] if with_curves else []),
        )
    return table


def _curve(job: dict[str, Any]) -> Text:
    return Text(text.sparkline([point[2] for point in job["curve"]]), EVAL_STYLE)


def epochs(rows: Iterable[dict[str, Any]]) -> Table:
    """Return the epochs of a job."""
    table = _table(
        ">Epoch",
        ">Train accuracy",
        ">Eval accuracy",
        ">Train loss",
        ">Eval loss",
        ">Rate",
        ">Time",
        ">Images/s",
    )
    for row in rows:
        table.add_row(
            str(row["epoch"]),
            Text(text.percent(row["train_accuracy"]), TRAIN_STYLE),
            Text(text.percent(row["eval_accuracy"]), EVAL_STYLE),
            text.number(row["train_loss"]),
            text.number(row["eval_loss"]),
            text.number(row["learning_rate"]),
            text.duration(row["seconds"]),
            f"{row['images_per_second']:,.0f}",
        )
    return table


def workers(items: Iterable[dict[str, Any]], now: datetime) -> Table:
    """Return the list of workers, with what each slot does."""
    table = _table("Name", "State", "Queues", "Slots", ">Heartbeat", "Host")
    for worker in items:
        table.add_row(
            worker["name"],
            _worker_state(worker),
            ", ".join(worker["queues"]),
            "\n".join(_slot(slot) for slot in worker["slots"]),
            f"{text.age(worker['heartbeat_at'], now)} ago",
            worker["hostname"],
        )
    return table


def _worker_state(worker: dict[str, Any]) -> str:
    return {"alive": "running", "silent": "lost"}.get(worker["state"], str(worker["state"]))


def _slot(slot: dict[str, Any]) -> str:
    doing = "idle"
    if slot.get("job_id"):
        doing = f"job {slot['job_id']}"
    elif slot.get("preflight_id"):
        doing = f"pre-flight {slot['preflight_id']}"
    return f"{slot.get('device')}: {doing}"


def datasets(items: Iterable[dict[str, Any]]) -> Table:
    """Return the list of data sets."""
    table = _table(
        "Name",
        "Title",
        ">Train",
        ">Test",
        "Image",
        ">Classes",
        "Version",
    )
    for item in items:
        table.add_row(
            item["name"],
            item["title"],
            f"{item['train_images']:,}",
            f"{item['test_images']:,}",
            f"{item['height']}x{item['width']}x{item['channels']}",
            str(len(item["classes"])),
            item["version"][:12],
        )
    return table


def known_datasets(items: Iterable[dict[str, Any]]) -> Table:
    """Return the list of public data sets."""
    table = _table("Name", "Title", ">Megabytes", "What it holds")
    for item in items:
        table.add_row(item["name"], item["title"], str(item["megabytes"]), item["description"])
    return table


def presets(items: Iterable[dict[str, Any]]) -> Table:
    """Return the list of presets."""
    table = _table("Name", "Title", ">Accuracy", ">Epochs", ">An epoch", "What to expect")
    for item in items:
        reached = item["reached"]
        table.add_row(
            item["name"],
            item["title"],
            text.percent(reached["accuracy"]),
            str(reached["epochs"]),
            text.duration(reached["epoch_seconds"]),
            item["description"],
        )
    return table


def facts(pairs: Sequence[tuple[str, Any]]) -> Table:
    """Return names and values side by side; pairs without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", text.NOTHING):
            grid.add_row(name, value if isinstance(value, Text) else text.clean(value))
    return grid


def _table(*columns: str) -> Table:
    """Return an empty table; a column whose name starts with `>` is aligned to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left"
        )
    return table


def _shortened(words: str) -> Text:
    """Return words that end in an ellipsis where the terminal is too narrow."""
    return Text(text.clean(words), no_wrap=True, overflow="ellipsis")
