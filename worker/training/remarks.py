"""What the submitter of a job that ended well should still be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.spec import JobSpec


def nothing_learned(
    spec: JobSpec, matrix: npt.NDArray[np.int64], classes: Sequence[str]
) -> str | None:
    """Tell of a model that gives one answer, whatever it is shown.

    Too high a learning rate need not end in a loss that is no number: rectifiers that answer 0 to
    every image have no gradient any more, and the job goes on to its end at chance.

    Args:
        spec: the job's spec.
        matrix: confusion matrix int64 [classes, classes]; row: label, column: prediction.
        classes: class names, by label.

    Returns:
        Sentences; None if it gives several answers, or if only one is right.
    """
    answers, labels = matrix.any(axis=0), matrix.any(axis=1)
    if answers.sum() > 1 or labels.sum() == 1:
        return None
    advice = f"Lower the learning rate, for example to {spec.learning_rate / 10:g}"
    if spec.preprocessing.scale == "raw":
        advice += ", or scale the pixels to 0 to 1"
    return (
        f"It has learned nothing: every test image is '{classes[int(answers.argmax())]}' to it. "
        f"{advice}."
    )
