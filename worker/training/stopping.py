"""Early stopping and the best epoch: pure functions of the epochs so far.

No state of their own, so a resumed job decides as an undisturbed one. Epochs count from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.protocol import Epoch
from shared.spec.job import JobSpec
from shared.spec.monitors import improvements
from shared.spec.stopping import AccuracyDrop, NoStopping, Patience


def reason_to_stop(spec: JobSpec, history: Sequence[Epoch]) -> str | None:
    """Say why training ends after the last epoch of `history`; None: it goes on."""
    return _RULES[spec.early_stopping.kind](spec.early_stopping, history)


def best_epoch(history: Sequence[Epoch]) -> int:
    """Return the epoch of the best evaluation accuracy, the first of equals."""
    return max(history, key=lambda epoch: (epoch.eval_accuracy, -epoch.epoch)).epoch


def keeps_best(spec: JobSpec) -> bool:
    """Whether the job ends with the weights of its best epoch instead of its last."""
    rule = spec.early_stopping
    return spec.evaluate_on == "validation" or (isinstance(rule, Patience) and rule.restore_best)


def epoch_to_keep(spec: JobSpec, history: Sequence[Epoch]) -> int:
    """Return the epoch whose weights the job ends with if it ends now.

    Patience with `restore_best` decides by its own monitor; else a job that evaluates on held-out
    data keeps the best evaluation accuracy, and any other the last epoch.
    """
    rule = spec.early_stopping
    if isinstance(rule, Patience) and rule.restore_best:
        return _last_improvement(rule, history) or history[-1].epoch
    return best_epoch(history) if keeps_best(spec) else history[-1].epoch


def _never(rule: NoStopping, history: Sequence[Epoch]) -> str | None:
    return None


def _accuracy_drop(rule: AccuracyDrop, history: Sequence[Epoch]) -> str | None:
    """The tutorial's rule: stop as soon as the training accuracy is below the epoch before's."""
    if len(history) < 2:
        return None
    before, last = history[-2], history[-1]
    if last.train_accuracy >= before.train_accuracy:
        return None
    return (
        f"Training accuracy fell from {before.train_accuracy:.4f} in epoch {before.epoch} "
        f"to {last.train_accuracy:.4f} in epoch {last.epoch}."
    )


def _patience(rule: Patience, history: Sequence[Epoch]) -> str | None:
    last = history[-1].epoch
    best = _last_improvement(rule, history)
    if best is None or last - best < rule.patience:
        return None
    value = getattr(history[best - 1], rule.monitor)
    return (
        f"{rule.monitor} has not improved on {value:.4f} of epoch {best} "
        f"for {rule.patience} epochs."
    )


def _last_improvement(rule: Patience, history: Sequence[Epoch]) -> int | None:
    """Return the last watched epoch better than the best before it by more than `min_delta`."""
    watched = history[rule.start_from_epoch - 1 :]
    improved = improvements(rule.monitor, rule.min_delta, watched)
    better = [epoch.epoch for epoch, better in zip(watched, improved, strict=True) if better]
    return better[-1] if better else None


_RULES: dict[str, Callable[[Any, Sequence[Epoch]], str | None]] = {
    "none": _never,
    "accuracy_drop": _accuracy_drop,
    "patience": _patience,
}
