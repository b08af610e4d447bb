"""A job as the terminal shows it while it runs: bars, curve, last words."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shared.cli import curve, tables, text
from shared.cli.stream import TERMINAL, Message

_BAR_WIDTH = 36
_CURVE_WIDTH, _CURVE_HEIGHT = 48, 8
_PHASES = {"train": "training", "evaluate": "evaluating", "finish": "finishing"}


class JobView:
    """What is known of a job, built from its messages."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = {}
        self.epochs: dict[int, dict[str, Any]] = {}
        self.progress: dict[str, Any] | None = None

    def take(self, message: Message) -> None:
        """Take in one message."""
        if message.kind in ("job", "end"):
            self.job = message.data
            self.progress = message.data.get("progress") or self.progress
        elif message.kind == "epoch":
            self.epochs[message.data["epoch"]] = message.data
        elif message.kind == "progress":
            self.progress = message.data

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.job.get("status") in TERMINAL

    def render(self) -> RenderableType:
        """Return the whole picture."""
        parts: list[RenderableType] = [self._headline()]
        if self.job.get("status") == "running":
            parts.append(self._bars())
        if self.epochs:
            parts += [Text(), *self.curve()]
        return Group(*parts)

    def _headline(self) -> Text:
        job = self.job
        line = Text(f"job {job['id']} {text.clean(job['name'])}: ")
        line.append_text(tables.status(job["status"]))
        if job["status"] == "queued":
            line.append(f" in {job['queue']}", "dim")
        if job["status"] == "running" and job.get("run_info"):
            line.append(f" on {job['run_info']['device']}", "dim")
        if job["attempt"] > 1:
            line.append(f", attempt {job['attempt']}", "dim")
        return line

    def _bars(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        total = self.job["epochs_total"]
        done, share = self._position()
        grid.add_row(
            "overall",
            ProgressBar(total=total, completed=done, width=_BAR_WIDTH),
            f"{done / total:.0%}  {self._remaining(done)}",
        )
        if self.progress:
            grid.add_row(
                f"epoch {self.progress['epoch']}/{total}",
                ProgressBar(total=1, completed=share, width=_BAR_WIDTH),
                self._step_words(self.progress),
            )
        return grid

    def _position(self) -> tuple[float, float]:
        """Return the epochs done, and the share of the present one."""
        finished = max(self.epochs, default=0)
        if not self.progress or self.progress["epoch"] <= finished:
            return float(finished), 0.0
        share = self.progress["step"] / max(self.progress["steps"], 1)
        return self.progress["epoch"] - 1 + share, share

    def _remaining(self, done: float) -> str:
        recent = [row["seconds"] for _, row in sorted(self.epochs.items())[-5:]]
        if not recent:
            return ""
        left = (self.job["epochs_total"] - done) * sum(recent) / len(recent)
        return f"{text.duration(left)} left at most"

    @staticmethod
    def _step_words(progress: dict[str, Any]) -> str:
        words = [f"{progress['step']}/{progress['steps']} {_PHASES[progress['phase']]}"]
        if progress.get("train_accuracy") is not None:
            words.append(f"accuracy {text.percent(progress['train_accuracy'])}")
        if progress.get("images_per_second"):
            words.append(f"{progress['images_per_second']:,.0f} images/s")
        return "  ".join(words)

    def curve(self) -> list[RenderableType]:
        """Return train and evaluation accuracy over the epochs, with axes and legend.

        One epoch alone makes no curve: the legend has its figures.
        """
        rows = [row for _, row in sorted(self.epochs.items())]
        if len(rows) == 1:
            return [self._legend(rows)]
        drawing = curve.draw(
            [
                curve.Series([(row["epoch"], row[name]) for row in rows], style)
                for name, style in (
                    ("train_accuracy", tables.TRAIN_STYLE),
                    ("eval_accuracy", tables.EVAL_STYLE),
                )
            ],
            width=_CURVE_WIDTH,
            height=_CURVE_HEIGHT,
            last_x=rows[-1]["epoch"] if self.over else self.job["epochs_total"],
        )
        return [_framed(drawing), self._legend(rows)]

    def _legend(self, rows: list[dict[str, Any]]) -> Text:
        last, best = rows[-1], max(rows, key=lambda row: (row["eval_accuracy"], -row["epoch"]))
        legend = Text(" " * 9)
        legend.append(f"train {text.percent(last['train_accuracy'])}", tables.TRAIN_STYLE)
        legend.append("   ")
        legend.append(f"evaluation {text.percent(last['eval_accuracy'])}", tables.EVAL_STYLE)
        legend.append(
            f"   best {text.percent(best['eval_accuracy'])} in epoch {best['epoch']}", "dim"
        )
        return legend


def epoch_line(row: dict[str, Any], total: int) -> str:
    """Return a finished epoch as one line of plain text."""
    return (
        f"epoch {row['epoch']:>{len(str(total))}}/{total}"
        f"  train {text.percent(row['train_accuracy'])}"
        f"  eval {text.percent(row['eval_accuracy'])}"
        f"  loss {text.number(row['train_loss'])} / {text.number(row['eval_loss'])}"
        f"  rate {text.number(row['learning_rate'])}"
        f"  {text.duration(row['seconds'])}"
    )


def outcome(job: dict[str, Any]) -> list[str]:
    """Return how a job ended, as lines of plain text."""
    lines = [f"job {job['id']} {job['status']} after {text.duration(job['duration_seconds'])}"]
    if job["best_eval_accuracy"] is not None:
        best = text.percent(job["best_eval_accuracy"])
        lines[0] += f", best accuracy {best} in epoch {job['best_epoch']}"
    if job["outcome_detail"]:
        lines.append(job["outcome_detail"])
    if failure := job["failure"]:
        lines += [f"{failure['kind']}: {failure['evidence']}", str(failure["suggestion"])]
    return [text.clean(line) for line in lines]


def _framed(drawing: curve.Drawing) -> Text:
    """Return the drawing with the values of its top and bottom on the left."""
    framed = Text()
    for index, row in enumerate(drawing.rows):
        label = {0: drawing.high, len(drawing.rows) - 1: drawing.low}.get(index)
        framed.append(f"{'' if label is None else text.percent(label):>8} ", "dim")
        for cell in row:
            framed.append(cell.character, cell.style)
        framed.append("\n")
    framed.right_crop(1)
    return framed
