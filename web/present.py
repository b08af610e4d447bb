"""How figures and names read on the pages: the templates' filters.

Pure functions of JSON-compatible values. Must not read SQL, settings or the clock by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared import doctor

# Kinds whose everyday spelling does not follow from their name.
_NAMES = {
    "adam": "Adam",
    "adamw": "AdamW",
    "cnn": "CNN",
    "conv": "convolution",
    "lenet5": "LeNet-5",
    "litert": "LiteRT",
    "mlp": "MLP",
    "pool": "pooling",
    "resnet20": "ResNet-20",
    "resnet50": "ResNet-50",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
    "vgg16": "VGG16",
}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_SOFTWARE = {
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "numpy": "NumPy",
    "tensorflow": "TensorFlow",
}
_IMPORT_FAILURES = {
    "data": "the files could not be read",
    "fetch": "the files could not be fetched",
}
SPARK_WIDTH = 104
SPARK_HEIGHT = 28
_SPARK_PAD = 3


def kind_name(kind: str | None) -> str:
    """Return a kind as people write it: `shallow_cnn` is "Shallow CNN"."""
    words = [_NAMES.get(word, word) for word in (kind or "").split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def software(name: str) -> str:
    """Return a program's name as its makers write it."""
    return _SOFTWARE.get(name, name.capitalize())


def failure_title(kind: str) -> str:
    """Return a failure's kind as a heading."""
    return doctor.TITLES.get(kind, kind_name(kind))


def import_failure(kind: str) -> str:
    """Say in a few words that an import failed, and at what."""
    return _IMPORT_FAILURES.get(kind, "the import could not be carried out")


def percent(value: float | None, digits: int = 2) -> str:
    """Return a share as a percentage: 0.9872 is "98.72 %"."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def figure(value: float | None) -> str:
    """Return a number in few digits, never as 1e-05 where decimals can be read."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value:,.0f}"
    text = f"{value:.6g}"
    return format(Decimal(text), "f") if abs(value) >= 1e-7 else text


def loss(value: float | None) -> str:
    """Return a loss in four significant digits: 0.04213, 2.64e9."""
    if value is None:
        return "–"
    rounded = float(f"{value:.4g}")
    if rounded == 0 or 1e-4 <= rounded < 1e6:
        return f"{rounded:g}"
    mantissa, exponent = f"{rounded:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def count(value: float | None) -> str:
    """Return a whole number with its thousands apart: 2424482 is "2,424,482"."""
    return "–" if value is None else f"{round(value):,}"


def file_size(size: int | None) -> str:
    """Return bytes in the unit that reads best: 180000 is "176 KiB"."""
    if size is None:
        return "–"
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}" if value % 1 > 0 and value < 100 else f"{value:.0f} {units[0]}"


def duration(seconds: float | None) -> str:
    """Return a time span in its two largest units: 125 is "2 min 5 s".

    `format.js` has the same rule for what changes while a page is open; so has `ago`.
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    for index, (unit, size) in enumerate(_UNITS):
        if rest >= size:
            whole, rest = divmod(rest, size)
            below, below_size = _UNITS[index + 1] if index < 2 else ("s", 1)
            part = rest // below_size
            return f"{whole} {unit} {part} {below}" if part else f"{whole} {unit}"
    return f"{rest} s"


def ago(seconds: float | None) -> str:
    """Return how long ago something was: 185 is "3 min ago"."""
    if seconds is None:
        return "–"
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} s ago"


def seconds_since(text: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds from an ISO 8601 time to `now`, never negative."""
    if text is None:
        return None
    then = datetime.fromisoformat(text)
    return max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())


def spark(curve: list[list[float]]) -> dict[str, Any] | None:
    """Lay out a job's small curve.

    Args:
        curve: `[epoch, train_accuracy, eval_accuracy]`, epochs ascending.

    Returns:
        `train` and `eval` as SVG point lists, `dot` as the last evaluation's place, and `text`
        for those who cannot see it; None without an epoch.
    """
    if not curve:
        return None
    low = min(min(train, test) for _, train, test in curve)
    high = max(max(train, test) for _, train, test in curve)
    first, last = curve[0][0], curve[-1][0]

    def place(epoch: float, value: float) -> tuple[float, float]:
        along = (epoch - first) / (last - first) if last > first else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        width, height = SPARK_WIDTH - 2 * _SPARK_PAD, SPARK_HEIGHT - 2 * _SPARK_PAD
        return round(_SPARK_PAD + along * width, 1), round(_SPARK_PAD + (1 - up) * height, 1)

    def points(column: int) -> str:
        return " ".join("{},{}".format(*place(row[0], row[column])) for row in curve)

    text = f"Evaluation accuracy from {percent(curve[0][2])} to {percent(curve[-1][2])}"
    dot = place(last, curve[-1][2])
    return {"train": points(1), "eval": points(2), "dot": dot, "text": text}


def share_done(job: dict[str, Any]) -> float:
    """Return how many epochs a job has done, counting the part of the running one."""
    done = float(job["epochs_done"])
    progress = job["progress"]
    if job["status"] != "running" or progress is None or progress["epoch"] <= done:
        return done
    inside = 1.0 if progress["phase"] != "train" else progress["step"] / max(progress["steps"], 1)
    return done + min(inside, 1.0)


def phase(progress: dict[str, Any] | None) -> str:
    """Return in words where training is. `job.js` does the same for live progress."""
    if progress is None:
        return "Starting"
    if progress["phase"] == "train":
        return f"Training, step {progress['step']:,} of {progress['steps']:,}"
    return "Evaluating" if progress["phase"] == "evaluate" else "Writing the artifacts"


FILTERS = (
    ago,
    count,
    duration,
    failure_title,
    figure,
    file_size,
    import_failure,
    kind_name,
    loss,
    percent,
    phase,
    seconds_since,
    share_done,
    software,
    spark,
)
