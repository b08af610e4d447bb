"""What a failed job's submitter reads."""

from __future__ import annotations

import pytest
import tensorflow as tf

from shared.errors import InvalidInput
from worker.training.failures import bad_data, describe, diverged


def test_divergence_names_epoch_step_and_rate_and_suggests_a_lower_one() -> None:
    failed = describe(diverged(epoch=2, step=7, learning_rate=0.5))
    assert failed.kind == "diverged"
    for words in ("epoch 2", "step 7", "0.5"):
        assert words in failed.evidence
    assert "0.05" in failed.suggestion


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        tf.errors.InternalError(None, None, "Dst tensor is not initialized."),
        tf.errors.InternalError(None, None, "Failed to allocate 4096 bytes for the scratch"),
    ],
    ids=lambda error: str(error) or type(error).__name__,
)
def test_every_kind_of_memory_error_suggests_a_smaller_batch(error: BaseException) -> None:
    failed = describe(error)
    assert failed.kind == "out_of_memory"
    assert "batch" in failed.suggestion
    assert type(error).__name__ in failed.evidence


def test_another_internal_error_of_tensorflow_is_no_lack_of_memory() -> None:
    assert describe(tf.errors.InternalError(None, None, "cuDNN launch failed")).kind == "internal"


def test_bad_data_keeps_its_words() -> None:
    assert describe(bad_data("y_test.npy is gone")).evidence == "y_test.npy is gone"


def test_a_spec_that_does_not_fit_the_data_names_the_field() -> None:
    failed = describe(InvalidInput.of("spec.model.blocks", "Too deep.", [1, 2]))
    assert failed.kind == "data"
    assert "spec.model.blocks" in failed.evidence


def test_anything_else_is_internal_on_one_bounded_line() -> None:
    failed = describe(RuntimeError("first\n  second " + "x" * 10_000))
    assert failed.kind == "internal"
    assert failed.evidence.startswith("RuntimeError: first second xxx")
    assert len(failed.evidence) <= 500
