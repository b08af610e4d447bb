"""One job in full, for people."""

from __future__ import annotations

from typing import Any

from shared.cli import tables, text
from shared.cli.stream import Message
from shared.cli.view import JobView, outcome
from shared.spec.layers import in_words


def print_details(
    job: dict[str, Any], epochs: list[dict[str, Any]], wait: dict[str, Any] | None = None
) -> None:
    """Print a job's facts, epochs and curve.

    Args:
        job: its detail.
        epochs: its rows.
        wait: why it waits, if it does.
    """
    console = tables.make_console()
    console.print(tables.facts(_facts(job) + _waiting(wait)))
    if epochs:
        console.print(tables.epochs(epochs))
        view = JobView()
        view.take(Message("job", job))
        for row in epochs:
            view.take(Message("epoch", row))
        for part in view.curve():
            console.print(part)
    for line in outcome(job) if view_is_over(job) else []:
        console.print(line)


def _facts(job: dict[str, Any]) -> list[tuple[str, Any]]:
    spec = job["spec"]
    return [
        ("job", f"{job['id']} {job['name']}"),
        ("status", tables.status(job["status"])),
        ("preset", job["preset"]),
        ("tags", ", ".join(job["tags"])),
        ("data", f"{job['dataset']} {job['dataset_version'][:12]}"),
        ("model", _described(spec["model"])),
        ("optimizer", _described(spec["optimizer"])),
        ("learning rate", f"{job['learning_rate']:g}, {_described(spec['schedule'])}"),
        ("early stopping", _described(spec["early_stopping"])),
        ("epochs", f"{job['epochs_done']} of {job['epochs_total']}"),
        ("batch size", job["batch_size"]),
        ("seed", spec["seed"]),
        *_run(job["run_info"] or {}),
        ("queue", job["queue"]),
        ("submitted", job["submitted_at"]),
        ("took", text.duration(job["duration_seconds"])),
        ("test accuracy", text.percent(job["test_accuracy"])),
        ("weights", (job["result"] or {}).get("weights_sha256")),
        ("again", job["reproduce"]["submit"]),
    ]


def _run(info: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what the numbers depend on beside the spec, as far as it was recorded."""
    machine = info.get("machine") or {}
    versions = ", ".join(f"{name} {value}" for name, value in info.get("versions", {}).items())
    rows = [("device", info.get("device")), ("precision", info.get("precision"))]
    if machine:
        threads = f"{machine['intra_op_threads']} and {machine['inter_op_threads']} threads"
        compiled = ", large kernels' change by XLA" if machine.get("xla") else ""
        rows.append(("processor", f"{machine['processor']}, {threads}{compiled}"))
    return [*rows, ("versions", versions or None)]


def _waiting(wait: dict[str, Any] | None) -> list[tuple[str, Any]]:
    if wait is None:
        return []
    remedies = [("remedy", remedy["label"]) for remedy in wait["remedies"]]
    return [("waits", wait["sentence"]), ("place", wait["position"]), *remedies]


def _described(part: dict[str, Any]) -> str:
    """Return a part of the spec as its kind and its values."""
    if part["kind"] == "layers":
        return in_words(part["layers"])
    values = [f"{name} {value}" for name, value in part.items() if name != "kind"]
    return ", ".join([part["kind"], *values])


def view_is_over(job: dict[str, Any]) -> bool:
    """Return whether the job has ended."""
    return job["finished_at"] is not None
