"""Images in parts: every step's images, in order, from wherever one begins."""

from __future__ import annotations

import numpy as np
import pytest

from worker.training import source
from worker.training.source import InFiles, OnDevice, Order, open_source, room_for_data

IMAGES = np.arange(23 * 4, dtype=np.uint8).reshape(23, 2, 2, 1)
LABELS = np.arange(23, dtype=np.int64)
ROWS = np.random.default_rng(1).permutation(23).astype(np.int32)[:21]
BATCH = 4
STEPS = 6  # five of 4, one of 1


def labels_of(order: Order, step: int) -> list[int]:
    """Return the labels of a step, after a look at whether they are those of its images."""
    part = order.part(step)
    assert part.start <= step < part.stop
    first = (step - part.start) * BATCH
    rows = part.rows.numpy()[first : first + BATCH]
    labels = part.labels.numpy()[rows]
    np.testing.assert_array_equal(part.images.numpy()[rows], IMAGES[labels])
    return [int(label) for label in labels]


def expected(step: int) -> list[int]:
    return [int(row) for row in ROWS[step * BATCH : (step + 1) * BATCH]]


@pytest.mark.parametrize("steps_a_part", [1, 2, 4, 100])
@pytest.mark.parametrize("begin", [0, 3, 5])
def test_each_step_has_its_images_in_order(steps_a_part: int, begin: int) -> None:
    order = InFiles(IMAGES, LABELS, part_bytes=steps_a_part * BATCH * 4).order(ROWS, BATCH)
    for step in range(begin, STEPS):
        assert labels_of(order, step) == expected(step)
        assert labels_of(order, step) == expected(step)


def test_one_can_begin_again_or_go_back() -> None:
    order = InFiles(IMAGES, LABELS, part_bytes=BATCH * 8).order(ROWS, BATCH)
    for step in (0, 1, 4, 0, 5, 2, 3):
        assert labels_of(order, step) == expected(step)


def test_a_batch_larger_than_a_part_is_read_whole() -> None:
    order = InFiles(IMAGES, LABELS, part_bytes=1).order(ROWS, BATCH)
    assert [labels_of(order, step) for step in range(STEPS)] == [expected(s) for s in range(STEPS)]


def test_on_the_device_one_part_holds_every_step() -> None:
    order = OnDevice(IMAGES, LABELS).order(ROWS, BATCH)
    assert [labels_of(order, step) for step in range(STEPS)] == [expected(s) for s in range(STEPS)]
    assert (order.part(2).start, order.part(2).stop) == (0, STEPS)


def test_the_room_decides_where_the_images_lie() -> None:
    assert isinstance(open_source(IMAGES, LABELS, room=IMAGES.nbytes), OnDevice)
    assert isinstance(open_source(IMAGES, LABELS, room=IMAGES.nbytes - 1), InFiles)


def test_half_of_the_free_memory_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "free_bytes", lambda: 8 << 20)
    assert room_for_data() == 4 << 20
