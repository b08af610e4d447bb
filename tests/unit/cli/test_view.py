"""What a person sees of a job: on a terminal, in a pipe, as JSON; and lists as tables."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from shared.cli import tables
from shared.cli.stream import Message
from shared.cli.view import JobView, epoch_line, outcome
from shared.cli.watch import exit_status, watch

JOB: dict[str, Any] = {
    "id": 3,
    "name": "hello-world",
    "status": "running",
    "queue": "default",
    "attempt": 1,
    "model": "shallow_cnn",
    "dataset": "mnist",
    "learning_rate": 0.001,
    "epochs_total": 10,
    "epochs_done": 0,
    "best_eval_accuracy": None,
    "best_epoch": None,
    "duration_seconds": None,
    "submitted_at": "2026-05-04T11:55:00.000Z",
    "outcome_detail": None,
    "failure": None,
    "progress": None,
    "run_info": {"device": "CPU"},
    "curve": [],
}


def _epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number,
        "train_accuracy": 0.9 + number / 100,
        "eval_accuracy": 0.88 + number / 100,
        "train_loss": 0.31,
        "eval_loss": 0.25,
        "learning_rate": 0.001 * 0.9 ** (number - 1),
        "seconds": 6.0,
        "images_per_second": 10_000.0,
    }


def _progress(epoch: int, step: int) -> dict[str, Any]:
    return {
        "phase": "train",
        "epoch": epoch,
        "step": step,
        "steps": 600,
        "train_accuracy": 0.9312,
        "images_per_second": 21_000.0,
    }


def _messages(end: dict[str, Any]) -> list[Message]:
    return [
        Message("job", {**JOB, "status": "queued", "run_info": None}),
        Message("job", JOB),
        Message("progress", _progress(1, 300)),
        Message("epoch", _epoch(1)),
        Message("epoch", _epoch(2)),
        Message("end", {**JOB, **end}),
    ]


SUCCEEDED = {
    "status": "succeeded",
    "duration_seconds": 61.0,
    "best_eval_accuracy": 0.9,
    "best_epoch": 2,
    "outcome_detail": "All epochs are done.",
}


def _render(view: JobView, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(view.render())
    return capture.get()


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(
        file=text, force_terminal=terminal, width=100, highlight=False, markup=False
    ), text


def test_a_pipe_gets_one_line_for_each_thing_that_happened() -> None:
    console, text = _console(terminal=False)
    view = watch(_messages(SUCCEEDED), console)
    assert text.getvalue().splitlines() == [
        "job 3 hello-world: queued",
        "job 3 hello-world: running",
        "epoch  1/10  train 91.00%  eval 89.00%  loss 0.31 / 0.25  rate 0.001  6.0s",
        "epoch  2/10  train 92.00%  eval 90.00%  loss 0.31 / 0.25  rate 0.0009  6.0s",
        "job 3 succeeded after 1m 01s, best accuracy 90.00% in epoch 2",
        "All epochs are done.",
    ]
    assert exit_status(view) == 0


def test_a_terminal_gets_one_picture_that_is_drawn_anew() -> None:
    console, text = _console(terminal=True)
    watch(_messages(SUCCEEDED), console)
    assert "\x1b[1A" in text.getvalue()  # the cursor goes up to draw over the last picture
    assert "job 3 succeeded after 1m 01s" in text.getvalue()


def test_programs_get_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    console, text = _console(terminal=True)
    watch(_messages(SUCCEEDED), console, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["job", "job", "progress", "epoch", "epoch", "end"]
    assert lines[-1]["data"]["status"] == "succeeded"
    assert text.getvalue() == ""


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_does_not_succeed_gives_exit_status_1(status: str) -> None:
    console, _ = _console(terminal=False)
    assert exit_status(watch([Message("end", {**JOB, "status": status})], console)) == 1


def test_a_failure_shows_kind_evidence_and_suggestion() -> None:
    failure = {
        "kind": "diverged",
        "evidence": "The loss is NaN at step 12.",
        "suggestion": "Try a lower learning rate.",
    }
    assert outcome({**JOB, "status": "failed", "failure": failure, "duration_seconds": 2.0}) == [
        "job 3 failed after 2.0s",
        "diverged: The loss is NaN at step 12.",
        "Try a lower learning rate.",
    ]


def test_the_bars_count_finished_epochs_and_the_share_of_the_present_one() -> None:
    view = JobView()
    view.take(Message("job", JOB))
    view.take(Message("epoch", _epoch(1)))
    view.take(Message("progress", _progress(2, 300)))
    picture = _render(view)
    assert "15%" in picture  # (1 + 300/600) of 10
    assert "51s left at most" in picture  # 8.5 epochs of 6 s
    assert "epoch 2/10" in picture
    assert "300/600 training  accuracy 93.12%  21,000 images/s" in picture


def test_progress_of_an_epoch_that_has_ended_is_not_counted_twice() -> None:
    view = JobView()
    view.take(Message("job", JOB))
    view.take(Message("progress", _progress(1, 600)))
    view.take(Message("epoch", _epoch(1)))
    assert "10%" in _render(view)


def test_the_curve_names_its_range_its_last_values_and_the_best() -> None:
    view = JobView()
    view.take(Message("job", JOB))
    for number in (1, 2, 3):
        view.take(Message("epoch", _epoch(number)))
    picture = _render(view)
    assert "93.00% " in picture
    assert "89.00% " in picture
    assert "train 93.00%   evaluation 91.00%   best 91.00% in epoch 3" in picture


def test_a_picture_is_not_wider_than_60_columns_need() -> None:
    view = JobView()
    view.take(Message("job", {**JOB, "name": "x" * 200}))
    view.take(Message("epoch", _epoch(1)))
    view.take(Message("progress", _progress(2, 10)))
    assert max(len(line) for line in _render(view, 60).splitlines()) <= 60


def test_a_queued_job_says_where_it_waits_and_a_repeated_one_how_often() -> None:
    view = JobView()
    view.take(Message("job", {**JOB, "status": "queued", "attempt": 2}))
    assert _render(view).strip() == "job 3 hello-world: queued in default, attempt 2"


def test_an_epoch_line_pads_to_the_number_of_epochs() -> None:
    assert epoch_line(_epoch(7), 100).startswith("epoch   7/100  ")


def test_the_list_of_jobs_shows_results_and_a_small_curve() -> None:
    console, text = _console(terminal=False)
    job = {**JOB, **SUCCEEDED, "epochs_done": 2, "curve": [[1, 0.91, 0.89], [2, 0.92, 0.9]]}
    console.print(tables.jobs([job], datetime(2026, 5, 4, 12, 0, tzinfo=UTC), 100))
    row = " ".join(text.getvalue().splitlines()[1].split())
    assert row == "3 succeeded hello-world shallow_cnn 0.001 2/10 90.00% 1m 01s 5m ▁█"


def test_names_are_shown_as_they_are_and_never_taken_as_markup() -> None:
    console, text = _console(terminal=False)
    job = {**JOB, "name": "[red]x[/red] :smile:"}
    console.print(tables.jobs([job], datetime(2026, 5, 4, 12, 0, tzinfo=UTC), 100))
    assert "[red]x[/red] :smile:" in text.getvalue()


def test_a_name_cannot_steer_the_terminal() -> None:
    view = JobView()
    view.take(Message("job", {**JOB, "name": "\x1b[2Jgone\r\n"}))
    assert "\N{REPLACEMENT CHARACTER}[2Jgone" in _render(view)
    assert "\x1b" not in _render(view)
