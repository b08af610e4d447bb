"""What a waiting trainer does in advance: a tiny job, so that the real one finds everything warm.

Building a first model and running a first graph costs half a second that no later one costs:
imports on demand, tables of operations, threads. Not done where there is a GPU: whatever runs on
it takes its memory, which belongs to the job that runs there now.
"""

from __future__ import annotations

import numpy as np

from shared.spec.job import JobSpec
from shared.spec.models import ShallowCnn
from worker.training.data import Dataset
from worker.training.graph import Totals
from worker.training.learner import Learner
from worker.training.runtime import has_gpu

_IMAGES = 3


def warm_up() -> None:
    """Train and score a model of a few weights on a few black images.

    Leaves nothing behind that a job could notice: building its model resets what Keras counts,
    and sets every seed.
    """
    if has_gpu():
        return
    spec = JobSpec(model=ShallowCnn(filters=1, dense_units=2), batch_size=1)
    images = np.zeros((_IMAGES, 8, 8, 1), np.uint8)
    labels = np.zeros(_IMAGES, np.int64)
    learner = Learner(spec, Dataset("", ["0", "1"], images, labels, images, labels))
    learner.training.run(learner.plan(1), Totals(), start=0, stop=learner.steps_per_epoch)
    learner.score_test()
