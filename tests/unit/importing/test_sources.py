"""What a file's name says of its part, and which names of members lead elsewhere."""

from __future__ import annotations

import pytest

from worker.importing.sources import part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mnist_train.csv", "train"),
        ("train1.csv", "train"),
        ("test1.csv", "test"),
        ("trainData.csv", "train"),
        ("testData.csv", "test"),
        ("trainset.npz", "train"),
        ("TestSet.npz", "test"),
        ("training_set/cats/1.png", "train"),
        ("X_train1", "train"),
        ("XTest", "test"),
        ("TRAIN2.CSV", "train"),
        ("valset.zip", "train"),
        ("t10k-images-idx3-ubyte.gz", "test"),
        ("T10K-images", "test"),
        ("latest.csv", None),
        ("latest10k.csv", None),
        ("prétest.csv", None),
        ("contest2.csv", None),
        ("trainer.csv", None),
        ("train_test.csv", None),
    ],
)
def test_a_name_says_its_part_by_words_between_signs_digits_and_capitals(
    name: str, part: str | None
) -> None:
    assert part_of(name) == part
