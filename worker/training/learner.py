"""What a job trains: data on the device, model, optimizer, and the loops that join them.

Owns how they are put together from a spec, and how their variables are read and set as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.protocol import Epoch
from shared.spec.job import JobSpec
from shared.spec.schedules import changes_within_an_epoch, learning_rate
from worker.training import data, models, optimizers, runtime, sampling
from worker.training.checkpoints import Arrays, State, Unusable
from worker.training.data import Dataset
from worker.training.graph import EvaluationLoop, Plan, Score, Scorer, TrainingLoop
from worker.training.kernels import LargeKernels
from worker.training.normalization import Normalizations
from worker.training.precision import ScaledUpdater
from worker.training.replicas import Replicas, Single, replicas
from worker.training.source import open_source, room_for_data

# Images scored at once: many, as long as what a layer puts out for them is no burden.
_MOST_EVALUATED_AT_ONCE = 1000
_MOST_LAYER_BYTES = 128 << 20
_FLOAT32_BYTES = 4


class Learner:
    """A model with all that trains and scores it.

    Args:
        spec: the job's spec; its precision must be one that `auto` can become.
        dataset: the data set it names.
        room: bytes of images that may lie on the device; more are read from their files.
        devices: names of the devices to train on together, such as `GPU:0`; those that the spec
            asks for unless given.

    Attributes:
        model: the Keras model.
        training: steps over the training images.
        evaluation: the score after each epoch.
        train_images: images an epoch.
        steps_per_epoch: steps an epoch, a smaller last one included.
    """

    def __init__(
        self,
        spec: JobSpec,
        dataset: Dataset,
        *,
        room: int | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        self._spec = spec
        self._dataset = dataset
        self._replicas = replicas(
            runtime.training_devices(spec.resources.gpus) if devices is None else devices
        )
        self._rows, held_out = sampling.split(spec, dataset.y_train)
        self.train_images = len(self._rows)
        self.steps_per_epoch = -(-self.train_images // spec.batch_size)
        self._room = room_for_data() if room is None else room
        self._train_set = open_source(dataset.x_train, dataset.y_train, room=self._room)
        self._pixels = self._pixel_statistics()
        self.model = self._build(spec, self._replicas)
        kernels = self._large_kernels()
        normalizations = Normalizations() if runtime.has_gpu() else Normalizations.of(self.model)
        with self._replicas.scope():
            self._updater = self._make_updater(kernels.others)
        self.training = TrainingLoop(
            self.model,
            kernels,
            normalizations,
            self._updater,
            self._replicas,
            batch_size=spec.batch_size,
            augmentation=spec.preprocessing.augmentation,
            seed=spec.seed,
        )
        self._scorer = Scorer(
            self.model,
            normalizations,
            self._replicas,
            classes=len(dataset.classes),
            batch_size=_evaluation_batch(self.model),
        )
        if spec.evaluate_on == "validation":
            self.evaluation = EvaluationLoop(self._scorer, self._train_set, held_out)
        else:
            self.evaluation = self._test_evaluation()

    def score_test(self) -> Score:
        """Score the whole test set with the present weights."""
        evaluation = self.test_evaluation()
        return evaluation.run(evaluation.nothing(), start=0, stop=evaluation.batches)

    def test_evaluation(self) -> EvaluationLoop:
        """Return the loop that scores the whole test set: that of the epochs, if they use it."""
        return self.evaluation if self._spec.evaluate_on == "test" else self._test_evaluation()

    def plan(self, epoch: int, history: Sequence[Epoch] = ()) -> Plan:
        """Return what an epoch of training does.

        Args:
            epoch: counted from 1.
            history: the epochs before it.
        """
        rows = sampling.shuffled(self._rows, seed=self._spec.seed, epoch=epoch)
        order = self._train_set.order(rows, self._spec.batch_size)
        return Plan(epoch, order, tf.constant(self._rates(epoch, history)))

    def weights(self) -> Arrays:
        """Return copies of the model's variables."""
        return [variable.numpy() for variable in self._model_variables]

    def optimizer_state(self) -> Arrays:
        """Return copies of the optimizer's variables."""
        return [variable.numpy() for variable in self._updater.variables]

    def weights_hash(self) -> str:
        """Return a hash over the model's weights, seed generators left out."""
        digest = hashlib.sha256()
        for weight in self.model.weights:
            digest.update(weight.numpy().tobytes())
        return digest.hexdigest()

    def float32_model(self) -> Any:
        """Return a model in float32 throughout, on a single device, with the present weights."""
        if self._spec.precision == "float32" and isinstance(self._replicas, Single):
            return self.model
        spec = self._spec.model_copy(update={"precision": "float32"})
        twin = self._build(spec, Single())
        for weight, own in zip(twin.weights, self.model.weights, strict=True):
            weight.assign(own)
        return twin

    def set_weights(self, arrays: Arrays) -> None:
        """Set the model's variables."""
        _assign(self._model_variables, arrays)

    def restore(self, state: State) -> None:
        """Set model and optimizer.

        Raises:
            Unusable: the state is of another model or optimizer; nothing is changed.
        """
        _check(self._model_variables, state.model)
        _check(self._updater.variables, state.optimizer)
        if state.best is not None:
            _check(self._model_variables, state.best)
        _assign(self._model_variables, state.model)
        _assign(self._updater.variables, state.optimizer)

    @property
    def _model_variables(self) -> list[Any]:
        return [variable.value for variable in self.model.variables]

    def _rates(self, epoch: int, history: Sequence[Epoch]) -> npt.NDArray[np.float32]:
        steps = self.steps_per_epoch
        varied = range(steps) if changes_within_an_epoch(self._spec) else (0,)
        rates = [
            learning_rate(self._spec, epoch, step=step, steps=steps, history=history)
            for step in varied
        ]
        return np.broadcast_to(np.array(rates, np.float32), steps)

    def _large_kernels(self) -> LargeKernels:
        """Return the kernels that the loop changes itself, where that is all that a step does."""
        alone = isinstance(self._replicas, Single) and not runtime.has_gpu()
        if alone and optimizers.is_plain(self._spec.optimizer):
            return LargeKernels.of(self.model)
        return LargeKernels(self.model)

    def _make_updater(self, weights: Sequence[Any]) -> optimizers.Updater:
        updater = optimizers.make(self._spec.optimizer, weights)
        return ScaledUpdater(updater) if self._spec.precision == "mixed_float16" else updater

    def _build(self, spec: JobSpec, on: Replicas) -> Any:
        shape, classes = self._dataset.image_shape, len(self._dataset.classes)
        return models.build(spec, shape, classes, self._pixels, on.scope())

    def _pixel_statistics(self) -> data.PixelStatistics | None:
        if self._spec.preprocessing.scale != "standardize":
            return None
        return data.pixel_statistics(self._dataset.x_train, self._rows)

    def _test_evaluation(self) -> EvaluationLoop:
        x, y = self._dataset.x_test, self._dataset.y_test
        rows = np.arange(len(y), dtype=np.int32)
        return EvaluationLoop(self._scorer, open_source(x, y, room=self._room), rows)


def _evaluation_batch(model: Any) -> int:
    """Return how many images to score at once."""
    outputs = (output for layer in model.layers for output in tf.nest.flatten(layer.output))
    largest = max(int(np.prod(output.shape[1:])) for output in outputs)
    fitting = _MOST_LAYER_BYTES // (largest * _FLOAT32_BYTES)
    return max(1, min(_MOST_EVALUATED_AT_ONCE, fitting))


def _check(variables: list[Any], arrays: Arrays) -> None:
    expected = [(tuple(v.shape), v.dtype.as_numpy_dtype) for v in variables]
    received = [(array.shape, array.dtype.type) for array in arrays]
    if expected != received:
        raise Unusable(f"Its variables must be {expected}. Received: {received}.")


def _assign(variables: list[Any], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
