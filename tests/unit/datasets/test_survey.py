"""What a survey sees: classes, pixels, empty images, images that occur twice."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.datasets.bundled import BUNDLED
from shared.datasets.derived import mean_images
from shared.datasets.layout import ARRAYS
from shared.datasets.report import Finding, Report
from shared.datasets.survey import survey

CLASSES = ("cat", "dog", "owl")
Arrays = dict[str, npt.NDArray[Any]]


def noise(count: int, *, seed: int, side: int = 8) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def arrays(train: list[int], test: list[int]) -> Arrays:
    """Return different images with so many of each class."""
    return {
        "x_train": noise(sum(train), seed=1),
        "y_train": np.repeat(np.arange(3), train),
        "x_test": noise(sum(test), seed=2),
        "y_test": np.repeat(np.arange(3), test),
    }


def sentences(report: Report, level: str) -> str:
    return " ".join(one.sentence for one in report.findings if one.level == level)


def test_the_bundled_report_is_what_a_survey_of_the_bundled_images_finds() -> None:
    mnist = BUNDLED["mnist"]
    read = {name: mnist.read(name) for name in ARRAYS}
    report = survey(read, mnist.content.classes)
    assert report == Report.model_validate(mnist.report())
    # The mean and deviation that the literature gives for MNIST, in shares of 255.
    assert report.train.mean / 255 == pytest.approx(0.1307, abs=1e-4)
    assert report.train.deviation / 255 == pytest.approx(0.3081, abs=1e-4)


def test_a_sound_data_set_is_called_so() -> None:
    report = survey(arrays([40, 50, 60], [200, 200, 200]), CLASSES)
    assert report.balance.verdict == "balanced"
    assert report.balance.ratio == 1.5
    assert (report.balance.largest, report.balance.smallest) == ("owl", "cat")
    assert report.balance.baseline == pytest.approx(1 / 3, abs=1e-6)
    assert [(row.name, row.train, row.test) for row in report.classes] == [
        ("cat", 40, 200),
        ("dog", 50, 200),
        ("owl", 60, 200),
    ]
    assert {finding.level for finding in report.findings} == {"ok"}
    assert "The classes are balanced: owl has 1.5 times" in sentences(report, "ok")
    equal = survey(arrays([40, 40, 40], [200, 200, 200]), CLASSES)
    assert "The classes are balanced: they are equally large." in sentences(equal, "ok")


@pytest.mark.parametrize(
    ("largest", "verdict"), [(75, "balanced"), (76, "uneven"), (151, "imbalanced")]
)
def test_the_verdict_on_the_balance_follows_the_ratio(largest: int, verdict: str) -> None:
    report = survey(arrays([50, 50, largest], [200, 200, 200]), CLASSES)
    assert report.balance.verdict == verdict


def test_an_imbalance_is_told_with_what_guessing_would_reach() -> None:
    report = survey(arrays([30, 40, 300], [100, 100, 600]), CLASSES)
    assert "owl has 10 times the images of cat" in sentences(report, "warning")
    assert "right for 75.0% of the test images" in sentences(report, "warning")


def test_classes_with_few_images_or_no_test_image_are_named() -> None:
    report = survey(arrays([19, 20, 20], [300, 300, 0]), CLASSES)
    assert "Fewer than 20 training images: cat." in sentences(report, "warning")
    assert "No test image at all: owl." in sentences(report, "warning")


def test_a_test_set_that_is_small_or_of_other_shares_is_told() -> None:
    report = survey(arrays([50, 50, 50], [80, 10, 10]), CLASSES)
    assert "With 100 test images, an accuracy is known to about ±10.0%." in sentences(
        report, "note"
    )
    assert "47% of the images would have to be of another class" in sentences(report, "note")


def test_repeats_leaks_and_contradictions_are_counted_and_shown() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    data["x_train"][3] = data["x_train"][1]  # twice in training, both cats
    data["x_train"][50] = data["x_train"][1]  # and once more, as a dog
    data["x_test"][7] = data["x_train"][90]  # an owl of training, in test as a cat
    data["x_test"][500] = data["x_train"][91]  # an owl in both
    data["x_test"][10] = data["x_test"][9]
    repeats = survey(data, CLASSES).repeats
    assert (repeats.train, repeats.test, repeats.leaked, repeats.contradicting) == (2, 1, 2, 5)
    found = {(one.part, one.row, one.of_part, one.of_row) for one in repeats.examples}
    assert found == {
        ("train", 1, "train", 50),
        ("train", 90, "test", 7),
        ("train", 91, "test", 500),
        ("test", 9, "test", 10),
    }
    first = repeats.examples[0]
    assert (first.label, first.of_label) == (
        2,
        0,
    )  # leaked and contradicting: the worst comes first


def test_repeats_are_told_in_words() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    data["x_test"][500] = data["x_train"][91]
    report = survey(data, CLASSES)
    assert "1 test image (0.17%) is among the training images too" in sentences(report, "warning")


def test_nearly_empty_images_are_found() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    data["x_train"][5] = 0
    data["x_train"][6] = 255
    data["x_train"][7] = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) % 8  # deviates by 2.3
    report = survey(data, CLASSES)
    assert report.train.near_empty == 3
    assert report.train.near_empty_rows == [5, 6, 7]
    assert "3 images are nearly empty" in sentences(report, "note")


def test_images_of_one_colour_are_nearly_empty() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    for part in ("train", "test"):
        data[f"x_{part}"] = np.repeat(data[f"x_{part}"], 3, axis=3)
    data["x_train"][5] = [255, 0, 0]
    data["x_train"][6] = [255, 0, 0]
    data["x_train"][6, :4, :, 2] = 9  # blue deviates by 4.5
    report = survey(data, CLASSES)
    assert report.train.near_empty_rows == [5]
    assert report.test.near_empty == 0


def test_pixels_that_were_scaled_to_one_are_told() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    data["x_train"] //= 128
    assert "from 0 to 1" in sentences(survey(data, CLASSES), "warning")


def test_pixel_figures_are_exact() -> None:
    data = arrays([40, 40, 40], [200, 200, 200])
    facts = survey(data, CLASSES).test
    images = data["x_test"]
    assert facts.mean == pytest.approx(images.mean(), abs=1e-3)
    assert facts.deviation == pytest.approx(images.std(), abs=1e-3)
    assert facts.zero_share == pytest.approx((images == 0).mean(), abs=1e-6)
    assert facts.histogram == np.histogram(images, bins=32, range=(0, 256))[0].tolist()


def test_mean_images_are_exact_however_the_labels_are_mixed() -> None:
    images = noise(5000, seed=3)
    labels = np.random.default_rng(4).integers(0, 3, 5000)
    means = mean_images(images, labels, 4)
    for label in range(3):
        exact = images[labels == label].mean(axis=0)
        assert np.abs(means[label] - exact).max() <= 0.5
    assert not means[3].any()


def test_mean_images_of_many_classes_take_little_more_than_their_sums() -> None:
    images = noise(400, seed=5, side=64)
    labels = np.arange(400) % 200
    tracemalloc.start()
    means = mean_images(images, labels, 2000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pixels = 2000 * 64 * 64
    assert peak < (4 + 1) * pixels + (16 << 20)  # the sums, what comes of them, a stretch
    exact = (images[:200].astype(int) + images[200:] + 1) // 2
    assert (means[:200] == exact).all()
    assert not means[200:].any()


def test_progress_reaches_the_end() -> None:
    shares: list[float] = []
    survey(arrays([40, 40, 40], [20, 20, 20]), CLASSES, shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_warnings_come_first() -> None:
    report = survey(arrays([30, 40, 300], [100, 100, 100]), CLASSES)
    levels = [finding.level for finding in report.findings]
    assert levels == sorted(levels, key=["warning", "note", "ok"].index)
    assert Finding(level="ok", sentence="No image occurs twice.") in report.findings
