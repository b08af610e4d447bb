"""What is bundled: each data set's description, shape, classes and content hash.

The arrays lie beside this module, `<name>/<array>.npy.xz`, with their attribution.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.datasets.layout import Description

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class BundledDataset:
    """A data set that lies in the repository.

    Attributes:
        name: what specs call it.
        title: what people call it.
        description: what it holds, in a sentence or two.
        attribution: authors and licence.
        content: its one version.
    """

    name: str
    title: str
    description: str
    attribution: str
    content: Description

    def read(self, array: str) -> npt.NDArray[Any]:
        """Unpack one array.

        Args:
            array: `x_train`, `y_train`, `x_test` or `y_test`.

        Returns:
            Images as uint8 [N, H, W, C], 0 to 255; labels as int64 [N].
        """
        with lzma.open(_HERE / self.name / f"{array}.npy.xz") as file:
            values: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return values if array.startswith("x_") else values.astype(np.int64)

    def report(self) -> dict[str, Any]:
        """Return what a survey of it found (`shared.datasets.report.Report`, as JSON)."""
        return dict(json.loads((_HERE / self.name / "report.json").read_text()))


BUNDLED: dict[str, BundledDataset] = {
    "mnist": BundledDataset(
        name="mnist",
        title="MNIST",
        description="Handwritten digits: 60,000 training and 10,000 test images of 28 x 28 grey "
        "pixels in ten classes.",
        attribution="Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0",
        content=Description(
            version="f84e08fcf5e2e0a79468e6c865d0fa81150e191b63e321e6b2f1600dd44903a2",
            train_images=60_000,
            test_images=10_000,
            height=28,
            width=28,
            channels=1,
            classes=tuple("0123456789"),
        ),
    ),
}
